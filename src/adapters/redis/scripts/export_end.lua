-- Ends the making of an MP4, unless another node is at it. KEYS: as of export_take.
-- ARGV: who asks, and why it came to nothing: code or '', words, for how many ms that is told.
local by = redis.call('HGET', KEYS[1], 'by')
if by and by ~= ARGV[1] then
    return
end
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then
    redis.call('HSET', KEYS[1], 'code', ARGV[2], 'why', ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
