-- For how long nothing of a recording was stored, in ms. ARGV: term.
local at = redis.call('HGET', manifest, 'at')
return at and tonumber(now) - tonumber(at)
