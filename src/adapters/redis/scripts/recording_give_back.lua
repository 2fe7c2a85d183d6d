-- Takes back a number whose chunk could not be stored, or that nobody has heard of. arg: index or '', request or ''.
local index = arg(1) ~= '' and arg(1) or redis.call('HGET', given, arg(2))
if it.state and index then
    give_back(tonumber(index))
end
return 1
