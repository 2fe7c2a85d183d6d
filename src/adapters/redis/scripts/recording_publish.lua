-- The claim has led to a video. arg: fence, chunks in it, what there is to know of it. Answers {manifest, due where it is sooner than
-- before}, or {} where the claim does not hold.
if not holds(arg(1)) then
    return {}
end
local before = caution()
it.unheard = 0
-- Its row is not written yet: whoever claims it before that is done must not forget it.
it.keep_until = nil
clear_fault()
it.merged = tonumber(arg(2))
-- What follows, such as its digest, makes it no younger.
if it.state ~= 'ready' or not it.ready then
    it.ready = now
end
it.state = 'ready'
it.revision = it.revision + 1
redis.call('HSET', account, 'finished', arg(3))
save()
return { manifest(), before > 0 and due() or '' }
