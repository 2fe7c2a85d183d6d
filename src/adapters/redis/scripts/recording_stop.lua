-- Takes a stop, unless chunks are missing. arg: token, chunks made or '', bytes made or ''.
-- Answers {code} with what belongs to it: chunks_missing how many there must be, the missing ones and the manifest; bytes_differ
-- the bytes stored; '' how many chunks there are, due and the manifest.
local no = refusal(arg(1))
if no then
    return { no }
end
if it.stopped == 1 and it.state ~= 'failed' then
    return { '', chunk_count(), due(), manifest() }
end
take_back(now - rules.number_term)
local wanted = tonumber(arg(2)) or next_index
if wanted < next_index or wanted > rules.chunks_max then
    save()
    return { 'malformed' }
end
local missing = missing_count(wanted)
if missing > rules.missing_max then
    save()
    return { 'index_out_of_range' }
end
if missing > 0 then
    it.stopped = 0
    it.announced = wanted
    it.revision = it.revision + 1
    it.patience = now + rules.patience
    save()
    return { 'chunks_missing', wanted, missing_below(wanted), manifest() }
end
if arg(3) ~= '' and tonumber(arg(3)) ~= it.bytes then
    save()
    return { 'bytes_differ', text(it.bytes) }
end
it.stopped = 1
it.announced = wanted
it.ended = it.ended or now
it.revision = it.revision + 1
it.patience = nil
-- A merge that runs has every chunk; one that failed is tried again.
if not it.claimed_by then
    it.state = 'finalising'
    it.deadline = now
end
save()
return { '', chunk_count(), due(), manifest() }
