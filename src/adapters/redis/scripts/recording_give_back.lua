-- Takes back the number of a request whose chunk could not be stored, or that nobody has heard of. Where nothing comes after it, it
-- was never given out; else its place stays empty. arg: request, which is of
-- no other recording. Answers whether the request had it.
local index = it.state and redis.call('HGET', given, arg(1))
if not index then
    return 0
end
index = tonumber(index)
if index + 1 == next_index then
    take_in(index)
    set_next(index)
end
return 1
