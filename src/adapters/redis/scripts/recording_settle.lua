-- Ends a claim; asked again, the same is answered. arg: fence, 'ready', 'again' or 'failed', ms until the next deadline, fault or ''.
-- Answers {due, manifest}, or {} where the claim does not hold.
if it.state and not it.claimed_by and it.fence == tonumber(arg(1)) and it.settled == it.fence then
    return { due(), manifest() }
end
if not holds(arg(1)) then
    return {}
end
it.deadline = now + tonumber(arg(3))
if arg(2) == 'ready' then
    it.state = 'ready'
    it.keep_until = it.deadline
elseif arg(2) == 'failed' then
    it.state = 'failed'
    it.deadline = nil
end
if arg(4) ~= '' then
    redis.call('HSET', account, 'fault', arg(4))
end
end_claim()
heard()
it.settled = it.fence
it.revision = it.revision + 1
save()
return { due(), manifest() }
