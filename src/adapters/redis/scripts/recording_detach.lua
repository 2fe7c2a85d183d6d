-- The recorder of this generation is gone: its grace begins. arg: generation. Answers due, or nothing.
local generation = tonumber(arg(1))
if not it.state or generation < it.generation then
    return ''
end
it.generation = generation
it.attached = 0
if it.state == 'recording' then
    it.deadline = now + rules.grace
end
save()
return due()
