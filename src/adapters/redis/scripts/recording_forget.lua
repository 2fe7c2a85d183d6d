-- The chunks of a claimed recording are gone. arg: fence. Answers whether the claim holds.
if not holds(arg(1)) then
    return 0
end
it.gone = chunk_count()
it.bytes = 0
it.whole, it.given_since = nil, nil
redis.call('DEL', chunks, given)
save()
return 1
