-- Puts back an account from what the chunk store has, or adds to the one that there is what it does not know. A long list of
-- chunks comes in several calls; until the last, an account that was not there stays unknown, and goes away by itself.
-- arg: whether it is the last call, whether a call before has added chunks, a manifest as opening takes it, then pairs of index
-- and mark. Answers {'another'}, {'gone'}, {'more', whether chunks were added so far}, or {'', due, manifest}.
local last, added = arg(1) == '1', arg(2) == '1'
local token, revision = arg(4), tonumber(arg(17))
if it.state and it.token ~= token then
    return { 'another' }
end
if it.gone then
    return { 'gone' }
end
local fresh = not it.state
if fresh and redis.call('HGET', account, 'restoring') ~= token then
    begin_anew()
    redis.call('HSET', account, 'restoring', token)
end
local adopts = fresh or revision > it.revision
for i = RULES + 19, #ARGV, 2 do
    if redis.call('HEXISTS', chunks, ARGV[i]) == 0 then
        insert(tonumber(ARGV[i]), ARGV[i + 1])
        if is_void(ARGV[i + 1]) then
            -- Nothing has come.
        elseif adopts then
            added = true
        else
            came(false, rules.grace)
        end
    end
end
if not last then
    save()
    if fresh then
        for _, key in ipairs(KEYS) do
            redis.call('PEXPIRE', key, 600000)
        end
    end
    return { 'more', added and 1 or 0 }
end
if adopts then
    local fence = it.fence or 0
    write_manifest(3)
    it.fence = math.max(it.fence, fence)
    it.generation = it.generation or 0
    it.attached, it.settled = 0, nil
    it.patience = nil
    end_claim()
    if it.state == 'recording' then
        it.deadline = now + rules.grace
    elseif it.state == 'ready' then
        -- One whose end did not get into the account is published anew.
        it.deadline = it.keep_until or now
    elseif it.state == 'finalising' then
        it.deadline = now + caution()
    else
        it.deadline = nil
        retry()
    end
    if it.state ~= 'ready' then
        it.keep_until = nil
    end
    if it.state == 'ready' and it.merged and chunk_count() > it.merged then
        -- A chunk was acknowledged after the video was made, and the node died before it could write that down.
        go_on(rules.grace)
    end
    redis.call('HDEL', account, 'restoring')
    for _, key in ipairs(KEYS) do
        redis.call('PERSIST', key)
    end
elseif added and it.state ~= 'recording' then
    -- Another has brought the later manifest meanwhile.
    came(false, rules.grace)
end
save()
return { '', due(), manifest() }
