-- Takes a stop, unless chunks are missing. arg: token, chunks made or '', bytes made or ''.
-- Answers {code} with what belongs to it: chunks_missing how many places there must be, the missing ones and the manifest; bytes_differ
-- the bytes stored; '' how many chunks there are, due and the manifest.
local no = refusal(arg(1))
if no then
    return { no }
end
if it.stopped == 1 and it.state ~= 'failed' then
    return { '', chunk_count(), due(), manifest() }
end
take_back_numbers()
-- What may still turn out to be void is no chunk that its recorder counts.
local empty = voids() + numbers_out()
local made = tonumber(arg(2)) or next_index - empty
if made > rules.chunks_max or made + empty < next_index then
    save()
    return { 'malformed' }
end
local wanted = math.max(made + voids(), next_index)
local missing = missing_count(wanted)
if missing > rules.missing_max then
    save()
    return { 'index_out_of_range' }
end
if missing > 0 then
    it.stopped = 0
    it.announced = made
    it.revision = it.revision + 1
    it.patience = now + rules.patience
    save()
    return { 'chunks_missing', wanted, empty_below(wanted), manifest() }
end
if arg(3) ~= '' and tonumber(arg(3)) ~= it.bytes then
    save()
    return { 'bytes_differ', text(it.bytes) }
end
it.stopped = 1
it.announced = made
it.ended = it.ended or now
it.revision = it.revision + 1
it.patience = nil
-- A merge that runs has every chunk, and so has a video; one that failed is tried again.
if not it.claimed_by and (it.state ~= 'ready' or it.merged and chunk_count() > it.merged) then
    it.unheard = 0
    begin_version()
    it.state = 'finalising'
    it.deadline = now
end
save()
return { '', chunk_count(), due(), manifest() }
