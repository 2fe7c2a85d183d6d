-- Says in which stores the caller keeps recordings. What was said first stands, for as long as anybody says the same.
-- KEYS: the stores. ARGV: for how many ms; since when the caller has said so, `new`: since now, `elsewhere`: it only follows what
-- others say; then what and where, in pairs.
-- Answers 1 and since when it is so, or 0 and what is elsewhere; 0 and '': nobody says anything, and the caller only follows.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local follows = ARGV[2] == 'elsewhere'
local since = tonumber(ARGV[2]) or now
local stands = tonumber(redis.call('HGET', KEYS[1], 'since') or since)
if follows and redis.call('EXISTS', KEYS[1]) == 0 then
    return { 0, '' }
end
local known = redis.call('HMGET', KEYS[1], ARGV[3], ARGV[5] or ARGV[3])
for pair = 1, 2 do
    local what, where = ARGV[1 + 2 * pair], ARGV[2 + 2 * pair]
    if what and known[pair] ~= where and (known[pair] or follows) then
        if follows or stands <= since then
            return { 0, what }
        end
        -- Redis had lost it, and somebody newer was quicker.
        redis.call('DEL', KEYS[1])
    end
end
since = string.format('%.0f', math.min(since, stands))
redis.call('HSET', KEYS[1], 'since', since)
for at = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return { 1, since }
