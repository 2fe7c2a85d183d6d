-- Learns that the places of numbers are kept empty from now on, because their chunks did not come in time. arg: token, the mark of
-- a void, then indices.
if refusal(arg(1)) or it.gone then
    return 0
end
for i = RULES + 3, #ARGV do
    insert(tonumber(ARGV[i]), arg(2))
end
save()
return 1
