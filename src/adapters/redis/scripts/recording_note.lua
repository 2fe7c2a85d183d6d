-- Notes a chunk that is durable. arg: index, mark, whether it came over HTTP, whether the indexes have the recording in case it
-- begins anew. Answers {'unknown'}, {'indexes', fixed, fence} (nothing has changed), {'in_time'}, or {'outdated', due, manifest}.
if not it.state then
    return { 'unknown' }
end
local known = redis.call('HEXISTS', chunks, arg(1)) == 1
if not known and it.state ~= 'recording' and it.stopped ~= 1 and arg(4) == '0' then
    return { 'indexes', redis.call('HGET', account, 'fixed'), text(it.fence) }
end
insert(tonumber(arg(1)), arg(2))
local outdated = came(known, arg(3) == '1')
save()
if not outdated then
    return { 'in_time' }
end
return { 'outdated', due(), manifest() }
