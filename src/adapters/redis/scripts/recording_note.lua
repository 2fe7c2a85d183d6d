-- Notes a chunk that is durable. arg: token, index, mark, whether it came over HTTP, whether the indexes have the recording in case
-- it begins anew, the request that has its number or ''. Answers {'unknown'}, {'withdrawn'} or {'indexes', fixed, fence} (nothing
-- has changed), {'in_time'}, or {'outdated', due, manifest}.
if refusal(arg(1)) then
    return { 'unknown' }
end
local has_number = arg(6) == '' or redis.call('HGET', given, arg(6)) == arg(2)
if not has_number and redis.call('HGET', chunks, arg(2)) ~= arg(3) then
    return { 'withdrawn' }
end
local known = redis.call('HEXISTS', chunks, arg(2)) == 1
if not known and it.state ~= 'recording' and it.stopped ~= 1 and arg(5) == '0' then
    return { 'indexes', redis.call('HGET', account, 'fixed'), text(it.fence) }
end
insert(tonumber(arg(2)), arg(3))
local outdated = came(known, arg(4) == '1' and rules.idle)
save()
if not outdated then
    return { 'in_time' }
end
return { 'outdated', due(), manifest() }
