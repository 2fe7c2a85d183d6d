-- Makes a recording none. ARGV: term, token ('': whichever it is). Answers the token that it had and how many places.
local token = redis.call('HGET', manifest, 'token')
if not token or (ARGV[2] ~= '' and ARGV[2] ~= token) then
    return false
end
local next = redis.call('HGET', manifest, 'next')
redis.call('UNLINK', manifest, marks, renewing)
return { token, next }
