-- Gives a chunk its place, unless another has it. KEYS[4]: its bytes. ARGV: term, token, index, note, bytes. Answers -1: there is no
-- such recording; 1: stored, and terms are to be renewed; or the note that stands.
if redis.call('HGET', manifest, 'token') ~= ARGV[2] then
    return -1
end
local stands = redis.call('HGET', marks, ARGV[3])
if stands then
    return stands
end
-- The bytes first: where there is no space for them, nothing has changed.
redis.call('SET', KEYS[4], ARGV[5], 'PX', term)
redis.call('HSET', marks, ARGV[3], ARGV[4])
if redis.call('PTTL', marks) < 0 then
    redis.call('PEXPIRE', marks, term)
end
local next = tonumber(ARGV[3]) + 1
if tonumber(redis.call('HGET', manifest, 'next')) < next then
    redis.call('HSET', manifest, 'next', string.format('%.0f', next))
end
return touch()
