-- Opens an account. Whoever opened it and did not hear of it is told so again.
-- arg: fixed, token, started, ended, state, stopped, announced, version, fence, keep_until, merged, ready, fault, finished,
-- revision, unheard. Answers {code}, or {'', generation, next index, chunks, missing, whether it begins anew, due, manifest}.
if it.state and (it.token ~= arg(2) or next_index > 0) then
    return { 'record_id_taken' }
end
if not it.state then
    begin_anew()
    write_manifest(1)
    it.generation, it.attached = now, 1
    it.deadline = now + rules.idle
    save()
end
return { '', text(it.generation), next_index, 0, {}, 0, due(), manifest() }
