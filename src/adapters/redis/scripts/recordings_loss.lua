-- Names the loss of data that is to be made good. The name goes when data is lost again, and is another's on another server.
-- KEYS: which servers have everything. ARGV: how names begin, the servers as they are now, a new name.
local stands = redis.call('GET', KEYS[1])
local suffix = ' ' .. ARGV[2]
local named = stands and string.sub(stands, 1, #ARGV[1]) == ARGV[1] and string.sub(stands, -#suffix) == suffix
if stands and (named or stands == ARGV[2]) then
    return stands
end
local name = ARGV[1] .. ARGV[3] .. suffix
redis.call('SET', KEYS[1], name)
return name
