-- The account as it stands. Only reads. Answers {}, or {next index, chunks, bytes, who has a claim or '', percent or '', manifest}.
if not it.state then
    return {}
end
local percent = it.claimed_by and it.percent
return {
    next_index, chunk_count(), text(it.bytes), it.claimed_by or '', percent and text(percent) or '', manifest(),
}
