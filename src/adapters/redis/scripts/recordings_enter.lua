-- Enters a recording into the index before its account is there, to be looked at after a while; what was entered to be looked at
-- sooner stays, unless somebody may be looking at it now. KEYS: the index. ARGV: id, after how many ms.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local at = now + tonumber(ARGV[2])
local score = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '0')
if score <= now or score > at then
    redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[1])
end
return 1
