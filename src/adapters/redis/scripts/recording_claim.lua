-- Claims what has been due for so long; asked again by the same request, the same is answered. arg: node, request, for how many ms.
-- Answers {'unknown'}, {'later', due or '', now}, or {what is due, how many places there must be, how many chunks there are,
-- manifest}.
local function claimed()
    local work = it.keep_until and 'forget' or 'publish'
    if it.state ~= 'ready' then
        -- It counts as one of them.
        work = (it.unheard or 0) > rules.unheard_max and 'give_up' or 'finalise'
    end
    return { work, expected(), chunk_count(), manifest() }
end

if not it.state then
    return { 'unknown' }
end
if it.claimed_by and it.request == arg(2) then
    return claimed()
end
local at = due()
if at == '' or tonumber(at) + tonumber(arg(3)) > now then
    return { 'later', at, text(now) }
end
take_back_numbers()
it.claimed_by, it.request = arg(1), arg(2)
it.claimed_until = now + rules.lease
it.percent = nil
it.deadline = nil
it.patience = nil
raise_fence()
if it.state ~= 'ready' then
    it.state = 'finalising'
    it.unheard = (it.unheard or 0) + 1
    it.ended = it.ended or now
end
save()
return claimed()
