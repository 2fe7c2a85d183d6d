-- What may be due: ids whose score has passed. A score is a time at which to look, never later than the deadline. KEYS: the
-- index. ARGV: most ids. Answers ids, each with its score.
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
