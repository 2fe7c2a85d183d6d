-- Takes on, or goes on, clearing away what a dead node has left. KEYS: the claim.
-- ARGV: who claims, for how many ms. Answers whether it is the caller's.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
