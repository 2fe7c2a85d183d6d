-- Makes a recording's place. ARGV: term, token, revision, manifest. Answers whether it is the caller's.
local there = redis.call('HGET', manifest, 'json')
if there then
    -- An answer may have been lost: then it is this very one.
    return there == ARGV[4] and 1 or 0
end
redis.call('HSET', manifest, 'token', ARGV[2], 'revision', ARGV[3], 'json', ARGV[4], 'next', '0', 'at', now)
redis.call('PEXPIRE', manifest, term)
redis.call('UNLINK', marks)
return 1
