-- Notes that everything was put back since a loss of data, if that was the last one. KEYS: which servers have everything.
-- ARGV: how names of losses begin, the name of this one. Answers whether it was.
local loss = ARGV[2]
if redis.call('GET', KEYS[1]) ~= loss then
    return 0
end
if string.sub(loss, 1, #ARGV[1]) == ARGV[1] then
    local servers = string.match(string.sub(loss, #ARGV[1] + 1), '^%S+ (.*)$')
    redis.call('SET', KEYS[1], servers)
end
return 1
