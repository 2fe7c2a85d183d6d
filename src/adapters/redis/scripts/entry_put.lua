-- Enters a recording into the recorded rooms or its owner's recordings. An entry is fence:since:rest; the fence is that of the
-- account when it was written. KEYS: the hash. ARGV: whether readers ask what has changed, the entry's name, fence, rest.
local entry = redis.call('HGET', KEYS[1], ARGV[2])
local fence, rest = string.match(entry or '', '^(%d+):%d+:(.*)$')
if fence and rest == ARGV[4] and tonumber(fence) >= tonumber(ARGV[3]) then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3] .. ':' .. text(now) .. ':' .. ARGV[4])
changed(ARGV[1])
return 1
