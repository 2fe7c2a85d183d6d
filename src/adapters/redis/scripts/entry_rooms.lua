-- The recorded rooms, if they have changed. KEYS: the rooms. ARGV: the version that is known.
-- Answers {version}, or {version, now, all entries}.
local version = redis.call('HGET', KEYS[1], '#version') or ''
if version == ARGV[1] then
    return { version }
end
return { version, text(now), redis.call('HGETALL', KEYS[1]) }
