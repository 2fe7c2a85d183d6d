-- Gives out the next number for a chunk that is staged; the same one again where the answer was lost.
-- arg: token, request, length, whether it can begin a recording, its recorder's generation or ''. Answers {code} or {'', number, whether others may be late}.
local no = refusal(arg(1)) or replaced(arg(5))
if no then
    return { no }
end
local again = redis.call('HGET', given, arg(2))
if again then
    return { '', tonumber(again), 0 }
end
no = takes_chunk(tonumber(arg(3)))
if no then
    return { no }
end
if numbers_out() >= rules.missing_max then
    no = 'overloaded'
elseif next_index >= rules.chunks_max then
    no = 'index_out_of_range'
elseif next_index == 0 and arg(4) == '0' then
    no = 'not_media'
end
if no then
    return { no }
end
local index = redis.call('INCR', counter) - 1
local late = it.given_since and it.given_since <= now - rules.number_term
redis.call('HSET', given, text(index), text(now) .. ':' .. arg(2), arg(2), text(index))
it.given_since = it.given_since or now
save()
return { '', index, late and 1 or 0 }
