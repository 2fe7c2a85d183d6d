-- What the scripts on a room share; it stands before each of them. KEYS: the room's participants, its meta.
-- ARGV[1]: when the caller's lease ends (ms of this server's clock; 0: not known). A call that was overtaken by that end,
-- because the server hung or the network did, does nothing (C-3).
local participants, meta = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local lease_ends = tonumber(ARGV[1])
local late = lease_ends > 0 and lease_ends <= now
local LATE = { err = 'LATE the lease of the caller has ended' }

local function text(number)
    return string.format('%.0f', number)
end

-- A row is JSON whose first fields are those that scripts compare and change, in this order and free of characters that
-- need an escape. What follows them (proof, username, metadata) is never decoded: it stays byte for byte as a node wrote it.
local HEAD = '^{"node":"([%w_.-]+)","inc":(%d+),"session":"([%x-]+)","gen":(%d+),"rev":(%d+),'
    .. '"state":"(%l+)","joined_at":(%d+),()'

-- What is no row of ours counts as none.
local function read(row)
    if not row then
        return nil
    end
    local node, inc, session, gen, rev, state, joined_at, rest = string.match(row, HEAD)
    if not node then
        return nil
    end
    local due, after = string.match(row, '^"until":(%d+),()', rest)
    return {
        node = node,
        inc = tonumber(inc),
        session = session,
        gen = tonumber(gen),
        rev = tonumber(rev),
        state = state,
        joined_at = tonumber(joined_at),
        due = tonumber(due),
        tail = string.sub(row, after or rest),
    }
end

local function write(row)
    local due = row.due and '"until":' .. text(row.due) .. ',' or ''
    return '{"node":"' .. row.node .. '","inc":' .. text(row.inc) .. ',"session":"' .. row.session
        .. '","gen":' .. text(row.gen) .. ',"rev":' .. text(row.rev) .. ',"state":"' .. row.state
        .. '","joined_at":' .. text(row.joined_at) .. ',' .. due .. row.tail
end

local function get(user)
    return read(redis.call('HGET', participants, user))
end

local function put(user, row)
    redis.call('HSET', participants, user, write(row))
end

local function number(field)
    return tonumber(redis.call('HGET', meta, field) or '0')
end

-- By the clock, so that it rises also where this server has forgotten what it gave; by one where the clock does not.
local function next_of(field)
    local value = math.max(now, number(field) + 1)
    redis.call('HSET', meta, field, text(value))
    return value
end

local function raise(field, value)
    if number(field) < value then
        redis.call('HSET', meta, field, text(value))
    end
end

-- Of two that say whether the room is locked, the later stands.
local function set_lock(locked, version)
    if version <= number('lock_ver') then
        return 0
    end
    redis.call('HSET', meta, 'locked', locked, 'lock_ver', text(version))
    return 1
end

local function picture()
    local locked = redis.call('HGET', meta, 'locked') == '1' and 1 or 0
    return { now, locked, number('lock_ver'), number('last_gen'), redis.call('HGETALL', participants) }
end

-- A room that nobody is in is forgotten, with its lock and its bans.
local function forget_if_empty()
    if redis.call('EXISTS', participants) == 0 then
        redis.call('DEL', meta)
    end
end
