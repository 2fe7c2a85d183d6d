-- Locks the room or opens it. That it was opened is kept too: it outweighs what nodes believe.
-- ARGV: lease's end, '1' or '0', its version: of two the higher stands. Answers whether it does.
if late then
    return LATE
end
local stands = set_lock(ARGV[2], tonumber(ARGV[3]))
forget_if_empty()
return stands
