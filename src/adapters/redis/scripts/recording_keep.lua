-- The recorder of this generation is still there. arg: generation.
-- Answers {'unknown'}, or {'', whether it is the present one, state, revision, percent or '', due where it is sooner than before}.
if not it.state then
    return { 'unknown' }
end
local generation = tonumber(arg(1))
local present = generation >= it.generation
it.generation = math.max(it.generation, generation)
local before = it.deadline
if present and it.state == 'recording' then
    it.attached = 1
    -- However present it is: nothing of it is taken any more once its time is over.
    it.deadline = math.min(now + rules.kept, it.started + rules.duration_max + rules.late_stop, it.patience or math.huge)
end
save()
local sooner = it.deadline and (not before or it.deadline < before)
local percent = it.claimed_by and it.percent
return { '', present and 1 or 0, it.state, text(it.revision), percent and text(percent) or '', sooner and due() or '' }
