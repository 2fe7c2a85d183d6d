-- Takes the making of an MP4, or goes on with it. KEYS: who is at it, or why it came to nothing.
-- ARGV: who asks, how far it is, for how many ms. Answers whether it is the caller's.
local by, code = unpack(redis.call('HMGET', KEYS[1], 'by', 'code'))
if code or (by and by ~= ARGV[1]) then
    return 0
end
redis.call('HSET', KEYS[1], 'by', ARGV[1], 'percent', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
