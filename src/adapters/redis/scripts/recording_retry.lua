-- recording_retry
-- What has failed is due again: what it lacked may be there now. Answers {} where it is not, or {due}.
if not retry() then
    return {}
end
save()
return { due() }
