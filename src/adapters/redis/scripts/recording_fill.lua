-- Learns that the places of numbers are kept empty from now on, because their chunks did not come in time. arg: the mark of a void,
-- then indices.
if not it.state or it.gone then
    return 0
end
for i = RULES + 2, #ARGV do
    insert(tonumber(ARGV[i]), arg(1))
end
save()
return 1
