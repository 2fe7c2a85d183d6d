-- The numbers whose chunks did not come in time: their places are to be filled. Answers them.
local late, until_ms = {}, now - rules.number_term
if not it.state or not it.given_since or it.given_since > until_ms then
    return late
end
it.given_since = nil
local out = redis.call('HGETALL', given)
for i = 1, #out, 2 do
    local at = tonumber(string.match(out[i + 1], '^(%d+):'))
    if at then
        it.given_since = math.min(it.given_since or at, at)
        if at <= until_ms then
            late[#late + 1] = tonumber(out[i])
        end
    end
end
save()
table.sort(late)
return late
