-- Lets somebody into the room, or says why not (R-5). A refusal changes nothing.
-- ARGV: lease's end, user, node, incarnation, session, the row's tail, most participants.
-- Answers {code, 0}, or {'', home and its incarnation of the session it replaced, that session, picture}.
if late then
    return LATE
end
local user = ARGV[2]
if tonumber(redis.call('HGET', meta, 'ban:' .. user) or '0') > now then
    return { 'banned', 0 }
end
local previous = get(user)
if not previous and redis.call('HGET', meta, 'locked') == '1' then
    return { 'room_locked', 0 }
end
if not previous and redis.call('HLEN', participants) >= tonumber(ARGV[7]) then
    return { 'room_full', 0 }
end
put(user, {
    node = ARGV[3],
    inc = tonumber(ARGV[4]),
    session = ARGV[5],
    gen = next_of('last_gen'),
    rev = 0,
    state = 'present',
    -- Whatever the clock does, who comes later is never the senior.
    joined_at = previous and previous.joined_at or next_of('last_joined'),
    tail = ARGV[6],
})
if not previous then
    return { '', '', '', '', picture() }
end
return { '', previous.node, text(previous.inc), previous.session, picture() }
