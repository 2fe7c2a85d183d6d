-- Puts back what a node holds of the room, takes away what it no longer has, and goes on with what dead nodes have left.
-- ARGV: lease's end, node, incarnation, what it knows of the lock ('1' or '0'), grace in ms, the lock's version,
-- then three lists, each after its length: dead nodes (node, incarnation), sessions to keep, its participants (user, node,
-- incarnation, session, generation, revision, state, joined_at, tail).
-- Answers {picture, rows of the node that were taken away (user, session, generation), sessions elsewhere that its own have
-- displaced (node, incarnation, session), whether there was none where one of its own was put}.
if late then
    return LATE
end
local at = 6
local function take()
    at = at + 1
    return ARGV[at]
end

local rows = {}
local entries = redis.call('HGETALL', participants)
for i = 1, #entries, 2 do
    local row = read(entries[i + 1])
    if row then
        rows[entries[i]] = row
    else
        redis.call('HDEL', participants, entries[i])
    end
end

-- The participants of dead nodes are suspect, and gone when their grace is over.
local dead = {}
for _ = 1, tonumber(take()) do
    local node, inc = take(), tonumber(take())
    dead[node] = math.max(dead[node] or 0, inc)
end
for user, row in pairs(rows) do
    if dead[row.node] and row.inc <= dead[row.node] then
        if not row.due then
            row.state = 'suspect'
            row.rev = row.rev + 1
            row.due = now + tonumber(ARGV[5])
            put(user, row)
        elseif row.due <= now then
            rows[user] = nil
            redis.call('HDEL', participants, user)
        end
    end
end

local held, displaced, restored = {}, {}, 0
for _ = 1, tonumber(take()) do
    held[take()] = true
end

local all = {}
for i = 1, tonumber(take()) do
    local user = take()
    all[i] = {
        user,
        {
            node = take(),
            inc = tonumber(take()),
            session = take(),
            gen = tonumber(take()),
            rev = tonumber(take()),
            state = take(),
            joined_at = tonumber(take()),
            tail = take(),
        },
    }
    held[all[i][2].session] = true
end

-- What the node no longer has goes first: an admission that was done after the node gave up on it stands in the way of nobody.
local gone, outdone = {}, {}
for user, row in pairs(rows) do
    if row.node == ARGV[2] and row.inc <= tonumber(ARGV[3]) and not held[row.session] then
        redis.call('HDEL', participants, user)
        gone[#gone + 1] = { user, row.session, text(row.gen) }
        outdone[user] = row.gen
        rows[user] = nil
    end
end

-- A node's row is put back, unless somebody newer has its place. Of two under one generation the session decides: hexadecimal
-- digits in lower case, of one length.
for _, pair in ipairs(all) do
    if not rows[pair[1]] then
        restored = 1
    end
end
for _, pair in ipairs(all) do
    local user, mine = pair[1], pair[2]
    if (outdone[user] or 0) > mine.gen then
        -- Others may have seen the one that went; what they see next must be newer.
        mine.gen = next_of('last_gen')
    end
    raise('last_gen', mine.gen)
    raise('last_joined', mine.joined_at)
    local row = rows[user]
    local newer = row and (row.gen > mine.gen or (row.gen == mine.gen and row.session > mine.session))
    if not newer then
        if row and row.session == mine.session and row.gen == mine.gen and row.due then
            -- The others have seen it as suspect; what they see next must be newer.
            mine.rev = math.max(mine.rev, row.rev + 1)
        end
        if row and row.session ~= mine.session and row.node ~= ARGV[2] then
            displaced[#displaced + 1] = { row.node, text(row.inc), row.session }
        end
        rows[user] = mine
        if not row or write(row) ~= write(mine) then
            put(user, mine)
        end
    end
end

if redis.call('EXISTS', participants) == 1 then
    set_lock(ARGV[4], tonumber(ARGV[6]))
end
local seen = picture()
forget_if_empty()
return { seen, gone, displaced, restored }
