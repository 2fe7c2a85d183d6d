-- Gives out the next number for a chunk that is staged; the same one again where the answer was lost.
-- arg: token, request, length, whether it can begin a recording. Answers {code} or {'', number}.
local no = refusal(arg(1))
if no then
    return { no }
end
local again = redis.call('HGET', given, arg(2))
if again then
    return { '', tonumber(again) }
end
no = takes_chunk(tonumber(arg(3)))
if no then
    return { no }
end
take_back(now - rules.number_term)
local number = tonumber(redis.call('ZRANGE', returned, 0, 0)[1])
local index = number or next_index
if redis.call('HLEN', given) >= 2 * rules.missing_max then
    no = 'overloaded'
elseif index >= rules.chunks_max then
    no = 'index_out_of_range'
elseif index == 0 and arg(4) == '0' then
    no = 'not_media'
end
if no then
    save()
    return { no }
end
if number then
    redis.call('ZREM', returned, text(number))
else
    next_index = redis.call('INCR', counter)
end
redis.call('HSET', given, text(index), text(now) .. ':' .. arg(2), arg(2), text(index))
it.given_since = it.given_since or now
save()
return { '', index }
