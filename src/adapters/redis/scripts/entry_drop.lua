-- Takes an entry out, unless it was written anew. KEYS: the hash.
-- ARGV: whether readers ask what has changed, the entry's name, the whole entry or '', or else the fence from which on it stays.
local entry = redis.call('HGET', KEYS[1], ARGV[2])
if not entry then
    return 0
end
local fence = tonumber(string.match(entry, '^(%d+):') or '0')
if entry ~= ARGV[3] and not (ARGV[3] == '' and fence < tonumber(ARGV[4])) then
    return 0
end
redis.call('HDEL', KEYS[1], ARGV[2])
changed(ARGV[1])
return 1
