-- The index of recordings that have chunks, each with the end of its term. KEYS: the index.
-- ARGV: 'enter', term, entry; 'leave', 0, entry; 'list', 0; 'sweep', for how many ms what is over stays.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local act, span, entry = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if act == 'enter' then
    return redis.call('ZADD', KEYS[1], string.format('%.0f', now + span), entry)
elseif act == 'leave' then
    return redis.call('ZREM', KEYS[1], entry)
elseif act == 'list' then
    return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now), '+inf')
end
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - span))
