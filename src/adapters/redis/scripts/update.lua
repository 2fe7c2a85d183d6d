-- Changes a participant's row, if it is still of that generation, older than the change, and its home is not taken for dead.
-- ARGV: lease's end, user, generation, revision, state, metadata as JSON. Answers whether it applied.
if late then
    return LATE
end
local row = get(ARGV[2])
if not row or row.gen ~= tonumber(ARGV[3]) or row.rev >= tonumber(ARGV[4]) or row.due then
    return 0
end
-- Metadata stands last, after the username, whose end is the first quote without a backslash.
local at = string.match(row.tail, '^"proof":"%x+","username":"()')
while string.sub(row.tail, at, at) ~= '"' do
    at = at + (string.sub(row.tail, at, at) == '\\' and 2 or 1)
end
row.tail = string.sub(row.tail, 1, at) .. ',"metadata":' .. ARGV[6] .. '}'
row.rev = tonumber(ARGV[4])
row.state = ARGV[5]
put(ARGV[2], row)
return 1
