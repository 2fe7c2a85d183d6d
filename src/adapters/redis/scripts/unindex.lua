-- Forgets entries of a node's index that are as old as the caller takes them for; one that was written since leads to
-- something that has come back, and stays (C-6). KEYS: the index.
-- ARGV: the last incarnation and the last generation that go, then sessions.
local inc_max, generation_max = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3, #ARGV do
    local entry = redis.call('HGET', KEYS[1], ARGV[i]) or ''
    local inc, generation = string.match(entry, '^{"inc":(%d+),"connection_id":(%d+),')
    if not inc or (tonumber(inc) <= inc_max and tonumber(generation) <= generation_max) then
        redis.call('HDEL', KEYS[1], ARGV[i])
    end
end
return 1
