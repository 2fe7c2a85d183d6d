-- Its recorder takes it up; whoever was before is outdated. arg: token, whether the indexes have it in case it begins anew.
-- Answers {code}, {'indexes', fixed, fence} (nothing has changed), or as opening does.
local no = refusal(arg(1))
if no then
    return { no }
end
local reopened = it.stopped ~= 1 and it.state ~= 'recording'
if reopened and arg(2) == '0' then
    return { 'indexes', redis.call('HGET', account, 'fixed'), text(it.fence) }
end
if reopened then
    reopen()
end
-- A ledger that has lost its last changes does not give one out twice.
it.generation = math.max(now, it.generation + 1)
it.attached = 1
-- What was on its way is sent again.
take_back_numbers()
if it.state == 'recording' then
    it.announced = nil
    clear_fault()
    it.revision = it.revision + 1
    it.patience = nil
    it.deadline = now + rules.idle
end
local missing = missing_below(next_index)
save()
return { '', text(it.generation), next_index, chunk_count(), missing, reopened and 1 or 0, due(), manifest() }
