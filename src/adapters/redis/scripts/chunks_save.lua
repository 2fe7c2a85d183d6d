-- Replaces what is known of a recording, unless something later is there. ARGV: term, token, revision, manifest. Answers -1: there is
-- no such recording; 1: its terms are to be renewed.
if redis.call('HGET', manifest, 'token') ~= ARGV[2] then
    return -1
end
if tonumber(redis.call('HGET', manifest, 'revision')) <= tonumber(ARGV[3]) then
    redis.call('HSET', manifest, 'revision', ARGV[3], 'json', ARGV[4])
end
return touch()
