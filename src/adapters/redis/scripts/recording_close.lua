-- Closes an account for good. arg: the claim's fence or '', the token or ''; both '': whichever it is.
-- Answers {manifest}, or {} where it is not the one that is meant.
local meant = it.state and (arg(1) == '' or holds(arg(1))) and (arg(2) == '' or it.token == arg(2))
if not meant then
    return {}
end
local last = manifest()
redis.call('DEL', account, counter, chunks, given)
return { last }
