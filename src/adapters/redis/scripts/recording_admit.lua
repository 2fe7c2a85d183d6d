-- Whether a chunk may come at all. Only reads. arg: token, length, whether it can begin a recording, its recorder's
-- generation or ''. Answers {code}.
local no = refusal(arg(1)) or replaced(arg(4)) or takes_chunk(tonumber(arg(2)))
if not no and next_index == 0 and arg(3) == '0' then
    no = 'not_media'
end
return { no or '' }
