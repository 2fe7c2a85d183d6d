-- Looks at the leases, and takes or renews the caller's. KEYS: the leases.
-- ARGV: node#incarnation, 'look', 'first' (take it) or 'again' (renew it, if it still runs), the lease's length in ms.
-- Answers {now, its end before or '', its end now or '', all leases with their ends}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
local ends = before
if ARGV[2] == 'first' or (ARGV[2] == 'again' and before and tonumber(before) > now) then
    ends = string.format('%.0f', now + tonumber(ARGV[3]))
    redis.call('ZADD', KEYS[1], ends, ARGV[1])
end
return { now, before or '', ends or '', redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') }
