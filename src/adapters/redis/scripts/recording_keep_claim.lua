-- Whoever has the claim is still at it. arg: fence, percent or ''. Answers whether it holds.
if not holds(arg(1)) then
    return 0
end
it.claimed_until = now + rules.lease
it.percent = tonumber(arg(2)) or it.percent
save()
return 1
