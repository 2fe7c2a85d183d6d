-- What the scripts on entries share; it stands before each of them.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function text(number)
    return string.format('%.0f', number)
end

-- Gives the entries another version, which this server has not given before, whatever it has forgotten.
local function changed(matters)
    if matters == '1' then
        local version = tonumber(redis.call('HGET', KEYS[1], '#version') or '0')
        redis.call('HSET', KEYS[1], '#version', text(math.max(now, version + 1)))
    end
end
