-- The log of changed agents from an entry on, that entry included; without one the newest entry alone.
-- Nothing when somebody put something else in its place.
-- KEYS: log of changed agents; ARGV: entry
local reply
if ARGV[1] == '' then
  reply = redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
else
  reply = redis.pcall('XRANGE', KEYS[1], ARGV[1], '+')
end
if reply.err then return {} end
return reply
