-- Changes when a recording is looked at again, or takes it out, unless that was changed since. KEYS: the index.
-- ARGV: id, the score that was found, the new one or ''. Answers whether it was done.
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return 0
end
if ARGV[3] == '' then
    redis.call('ZREM', KEYS[1], ARGV[1])
else
    redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
end
return 1
