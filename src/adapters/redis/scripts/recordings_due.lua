-- What may be due for so long: ids whose score has passed. A score is a time at which to look, never later than the deadline.
-- KEYS: the index. ARGV: most ids, for how many ms. Answers ids, each with its score.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local upto = string.format('%.0f', now - tonumber(ARGV[2]))
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', upto, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
