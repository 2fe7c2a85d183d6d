-- Whether a chunk may be stored at its place. Only reads.
-- arg: token, index, mark, length, whether it can begin a recording. Answers {code}, 'duplicate' among them.
local no = refusal(arg(1))
if no then
    return { no }
end
local index = tonumber(arg(2))
local stored = redis.call('HGET', chunks, arg(2))
if stored then
    return { stored == arg(3) and 'duplicate' or 'conflict' }
end
no = takes_chunk(tonumber(arg(4)))
if no then
    return { no }
end
if index == 0 and arg(5) == '0' then
    return { 'not_media' }
end
local ahead = math.max(index - next_index, 0)
local holes = math.max(next_index - place_count(), 0)
if holes + ahead > rules.missing_max or index >= (it.announced and it.announced + voids() or rules.chunks_max) then
    return { 'index_out_of_range' }
end
return { '' }
