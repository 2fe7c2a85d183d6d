-- Renews terms. KEYS[4…]: bytes of chunks. ARGV: term, whether this is the last call.
for at = 4, #KEYS do
    redis.call('PEXPIRE', KEYS[at], term)
end
if ARGV[2] == '1' then
    -- Last, so that whoever is interrupted is followed by another.
    redis.call('PEXPIRE', marks, term)
    redis.call('PEXPIRE', manifest, term)
    redis.call('DEL', renewing)
end
return 1
