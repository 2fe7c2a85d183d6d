-- Enters a new recording into its owner's, unless that has as many others. KEYS: the owner's recordings.
-- ARGV: the entry's name, fence, most. Answers {1} or {0, now, all entries}.
local others = redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], ARGV[1])
if others >= tonumber(ARGV[3]) then
    return { 0, text(now), redis.call('HGETALL', KEYS[1]) }
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. text(now) .. ':')
return { 1 }
