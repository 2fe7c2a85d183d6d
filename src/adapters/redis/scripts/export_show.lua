-- How it stands with the making of an MP4. KEYS: as of export_take. Answers by, percent, code, why, ms that are left of it.
local told = redis.call('HMGET', KEYS[1], 'by', 'percent', 'code', 'why')
told[5] = redis.call('PTTL', KEYS[1])
return told
