-- Takes a participant's row away, if it is still of that session and, where one is given, of that generation.
-- ARGV: lease's end, user, session, generation or nothing. Answers whether it applied, and whether the session is still there.
if late then
    return LATE
end
local row = get(ARGV[2])
if not row or row.session ~= ARGV[3] then
    return { 0, 0 }
end
if ARGV[4] ~= '' and row.gen ~= tonumber(ARGV[4]) then
    return { 0, 1 }
end
redis.call('HDEL', participants, ARGV[2])
forget_if_empty()
return { 1, 0 }
