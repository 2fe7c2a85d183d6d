-- What the scripts on a recording's account share; it stands before each of them. They mean what RecordingRecord says.
-- KEYS: the account, its counter, its chunks (voids among them), numbers given out.
-- ARGV: the rules as the next lines name them, then what a script asks for by arg(1), arg(2), …
local account, counter, chunks, given = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local RULES = 15
local rules = {}
for i, name in ipairs({
    'grace', 'idle', 'kept', 'lease', 'bytes_max', 'duration_max', 'late_stop', 'patience', 'missing_max', 'chunks_max',
    'number_term', 'careful_from', 'caution', 'caution_max', 'unheard_max',
}) do
    rules[name] = tonumber(ARGV[i])
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function arg(i)
    return ARGV[RULES + i]
end

local function text(number)
    return string.format('%.0f', number)
end

-- The account's fields that scripts read and change. An absent one is nil; flags are 1 or 0. JSON stands in fields of its own
-- (fixed, fault, finished) and is never decoded here, because the JSON library would turn an empty array into an object.
local TEXTS = { token = true, state = true, claimed_by = true, request = true }
local FIELDS = {
    'token', 'state', 'claimed_by', 'started', 'ended', 'stopped', 'announced', 'version', 'fence', 'revision', 'keep_until',
    'merged', 'ready', 'generation', 'attached', 'deadline', 'patience', 'claimed_until', 'percent', 'bytes', 'gone',
    -- Which call has made the last claim, so that it can be asked again; which claim was the last to be ended.
    'request', 'settled',
    -- Merges that were begun and of which nothing was heard; absent in accounts of earlier versions.
    'unheard',
    -- Below the first all chunks are stored; no number that is still out was given before the second. Both may lag behind.
    'whole', 'given_since',
    -- How many places are kept empty.
    'voids',
}
local it, was = {}, {}
for i, value in ipairs(redis.call('HMGET', account, unpack(FIELDS))) do
    local name = FIELDS[i]
    it[name] = value and (TEXTS[name] and value or tonumber(value)) or nil
    was[name] = it[name]
end
local next_index = tonumber(redis.call('GET', counter) or '0')

-- Writes what has changed.
local function save()
    local set, unset = {}, {}
    for _, name in ipairs(FIELDS) do
        local value = it[name]
        if value == nil and was[name] ~= nil then
            unset[#unset + 1] = name
        elseif value ~= was[name] then
            set[#set + 1] = name
            set[#set + 1] = TEXTS[name] and value or text(value)
        end
    end
    if #set > 0 then
        redis.call('HSET', account, unpack(set))
    end
    if #unset > 0 then
        redis.call('HDEL', account, unpack(unset))
    end
end

-- What a Manifest is made of, once it is saved.
local function manifest()
    return redis.call('HMGET', account, 'fixed', 'state', 'stopped', 'announced', 'version', 'fence', 'revision', 'ended',
        'keep_until', 'merged', 'ready', 'fault', 'finished', 'unheard')
end

-- Why whoever shows a token's digest is not let in; nil: it is. Without a state there is no account.
local function refusal(token)
    if not it.state then
        return 'recording_unknown'
    end
    return it.token ~= token and 'unauthorised' or nil
end

local function given_up()
    return (it.unheard or 0) >= rules.unheard_max
end

-- How long the next merge waits because nothing was heard of the last ones, and not as long for every recording.
local function caution()
    local unheard = it.unheard or 0
    if unheard < rules.careful_from or given_up() then
        return 0
    end
    local pause = math.min(rules.caution * 2 ^ (unheard - rules.careful_from), rules.caution_max)
    return pause + math.floor(pause / 4) * (it.started % 4)
end

-- Its node has said what became of a merge, or nobody wants to hear of it any more.
local function heard()
    it.unheard = math.max((it.unheard or 0) - 1, 0)
end

-- When something is to be done.
local function due()
    local ms = it.claimed_by and it.claimed_until + caution() or it.deadline
    return it.claimed_by == nil and it.deadline == nil and '' or text(ms)
end

local function holds(fence)
    return it.state and it.claimed_by and it.fence == tonumber(fence)
end

local function place_count()
    return it.gone or redis.call('HLEN', chunks)
end

local function voids()
    return it.voids or 0
end

local function chunk_count()
    return it.gone or place_count() - voids()
end

local function set_next(value)
    next_index = value
    redis.call('SET', counter, text(value))
end

local function raise_fence()
    it.fence = math.max(it.fence + 1, now)
    it.revision = it.revision + 1
end

-- What has failed is due again, unless its merges took their nodes down. Whether it is.
local function retry()
    if it.state ~= 'failed' or given_up() then
        return false
    end
    it.state = 'finalising'
    it.revision = it.revision + 1
    it.deadline = now + caution()
    return true
end

local function end_claim()
    it.claimed_by, it.claimed_until, it.percent = nil, nil, nil
end

-- Takes over a manifest from the arguments: fixed, token, started, ended, state, stopped, announced, version, fence, keep_until,
-- merged, ready, fault, finished, revision, unheard; what it does not have is ''.
local function write_manifest(from)
    it.token, it.state = arg(from + 1), arg(from + 4)
    for i, name in pairs({
        [2] = 'started', [3] = 'ended', [5] = 'stopped', [6] = 'announced', [7] = 'version', [8] = 'fence', [9] = 'keep_until',
        [10] = 'merged', [11] = 'ready', [14] = 'revision', [15] = 'unheard',
    }) do
        it[name] = tonumber(arg(from + i))
    end
    for i, name in pairs({ [0] = 'fixed', [12] = 'fault', [13] = 'finished' }) do
        if arg(from + i) == '' then
            redis.call('HDEL', account, name)
        else
            redis.call('HSET', account, name, arg(from + i))
        end
    end
end

-- An account that is not there: what a restore that did not come to its end has left of it goes.
local function begin_anew()
    redis.call('DEL', account, counter, chunks, given)
    next_index, it, was = 0, { bytes = 0 }, {}
end

local function clear_fault()
    redis.call('HDEL', account, 'fault')
end

-- What is made of a finished one from now on is another version of it.
local function begin_version()
    if it.state == 'ready' then
        it.version = it.version + 1
        it.keep_until = nil
    end
end

local function reopen()
    begin_version()
    raise_fence()
    if it.claimed_by and it.claimed_until > now then
        heard()
    end
    end_claim()
    it.state = 'recording'
    it.ended = nil
    clear_fault()
    it.deadline = now + rules.idle
end

-- There is more than its video has. What was stopped is finalised anew at once; else its recorder is waited for.
local function go_on(wait)
    reopen()
    if it.stopped == 1 then
        it.state = 'finalising'
        it.deadline = now
    elseif wait then
        it.deadline = now + wait
    end
end

-- Why a chunk of this length is not taken; nil: it is.
local function takes_chunk(length)
    if it.stopped == 1 then
        return 'recording_stopped'
    end
    if it.bytes + length > rules.bytes_max then
        return 'recording_too_large'
    end
    return now >= it.started + rules.duration_max and 'recording_too_long' or nil
end

-- What an earlier recorder had on its way is in the place by now where the present one has sent it again.
local function replaced(generation)
    local own = tonumber(generation)
    return own and own < it.generation and 'replaced' or nil
end

-- A number that is out stands under itself, as time and request, and under its request. At the time 0 its chunk is not waited for
-- any more.
local function take_in(index)
    local out = redis.call('HGET', given, text(index))
    if out then
        redis.call('HDEL', given, text(index), string.match(out, ':(.*)$'))
    end
    return out
end

local function numbers_out()
    return redis.call('HLEN', given) / 2
end

-- Nobody waits for the chunks any more that are on their way. Numbers at the end were never given out; the others are late from
-- now on.
local function take_back_numbers()
    if not it.given_since then
        return
    end
    while next_index > 0 and take_in(next_index - 1) do
        set_next(next_index - 1)
    end
    it.given_since = nil
    local out = redis.call('HGETALL', given)
    for i = 1, #out, 2 do
        local request = string.match(out[i + 1], '^%d+:(.*)$')
        if request then
            redis.call('HSET', given, out[i], '0:' .. request)
            it.given_since = 0
        end
    end
end

local function is_void(mark)
    return string.sub(mark, 1, 2) == '0:'
end

local function insert(index, mark)
    -- Whatever is there first stands, as it does in the chunk store.
    if redis.call('HSETNX', chunks, text(index), mark) == 1 then
        it.bytes = it.bytes + tonumber(string.match(mark, '^%d+'))
        it.voids = is_void(mark) and voids() + 1 or it.voids
    end
    take_in(index)
    if index >= next_index then
        set_next(index + 1)
    end
    it.whole = it.whole or 0
    for _ = 1, 64 do
        if redis.call('HEXISTS', chunks, text(it.whole)) == 0 then
            break
        end
        it.whole = it.whole + 1
    end
end

-- A chunk has come; `known`: it was there; `wait`: for how long its recorder is waited for at least, where nothing else tells of its
-- end. Whether the recording has begun anew, or is to be finalised anew, because of it.
local function came(known, wait)
    if it.patience then
        it.patience = now + rules.patience
    end
    if it.state == 'recording' then
        if wait then
            it.deadline = math.max(it.deadline or 0, now + wait)
        end
        return false
    end
    if known then
        return false
    end
    go_on(wait)
    return true
end

-- How many are missing below a number that nothing is stored at or above.
local function missing_count(below)
    return it.gone and 0 or below - redis.call('HLEN', chunks)
end

-- The indices below a number that are not stored.
local function empty_below(below)
    local missing = {}
    if it.gone then
        return missing
    end
    local stored_below = math.min(below, next_index)
    local from = it.whole or 0
    while from < stored_below do
        local upto = math.min(from + 500, stored_below)
        local names = {}
        for index = from, upto - 1 do
            names[#names + 1] = text(index)
        end
        for i, mark in ipairs(redis.call('HMGET', chunks, unpack(names))) do
            if not mark then
                missing[#missing + 1] = from + i - 1
            end
        end
        from = upto
    end
    for index = math.max(from, stored_below), below - 1 do
        missing[#missing + 1] = index
    end
    return missing
end

-- Those of them that are to come. A number that is given out is not: nobody was told of it.
local function missing_below(below)
    local empty = empty_below(below)
    if not it.given_since or #empty == 0 then
        return empty
    end
    local out = {}
    for _, name in ipairs(redis.call('HKEYS', given)) do
        out[name] = true
    end
    local missing = {}
    for _, index in ipairs(empty) do
        if not out[text(index)] then
            missing[#missing + 1] = index
        end
    end
    return missing
end

-- How many places there must be: chunks, and voids.
local function expected()
    return math.max(it.announced and it.announced + voids() or 0, next_index)
end
