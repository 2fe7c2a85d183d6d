-- Gives a session a new home, if its row is still as expected.
-- ARGV: lease's end, user, node, incarnation, session, expected generation, state, the row's tail.
-- Answers {code, whether the session is at that node all the same}, or {'', its old home and that one's incarnation, itself, picture}.
if late then
    return LATE
end
local user = ARGV[2]
local held = get(user)
if not held or held.session ~= ARGV[5] or held.gen ~= tonumber(ARGV[6]) then
    return { 'session_unknown', held and held.session == ARGV[5] and held.node == ARGV[3] and 1 or 0 }
end
put(user, {
    node = ARGV[3],
    inc = tonumber(ARGV[4]),
    session = ARGV[5],
    gen = next_of('last_gen'),
    rev = 0,
    state = ARGV[7],
    joined_at = held.joined_at,
    tail = ARGV[8],
})
return { '', held.node, text(held.inc), held.session, picture() }
