-- What the scripts on stored chunks share; it stands before each of them. KEYS: what is known of the recording, its marks, who
-- renews its terms. ARGV[1]: the term of all its keys, in ms.
local manifest, marks, renewing = KEYS[1], KEYS[2], KEYS[3]
local term = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))

-- Notes that something was stored. 1: half of the term is gone, and the caller is to renew it for everything.
local function touch()
    redis.call('HSET', manifest, 'at', now)
    if redis.call('PTTL', manifest) >= term / 2 then
        return 0
    end
    return redis.call('SET', renewing, '1', 'NX', 'PX', '10000') and 1 or 0
end
