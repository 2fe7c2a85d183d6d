-- Keeps a participant out for a while. ARGV: lease's end, user, duration in ms. Answers that it applied.
if late then
    return LATE
end
local fields = redis.call('HGETALL', meta)
for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 4) == 'ban:' and tonumber(fields[i + 1]) <= now then
        redis.call('HDEL', meta, fields[i])
    end
end
redis.call('HSET', meta, 'ban:' .. ARGV[2], text(now + tonumber(ARGV[3])))
forget_if_empty()
return 1
