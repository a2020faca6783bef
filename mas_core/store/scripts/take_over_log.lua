-- Puts what a consumer that is gone has in its hands of a topic's log into those of another; with the last of it the
-- consumer is removed. KEYS: log; ARGV: group, consumer, the one that is gone. Returns how many entries.
local pending = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[3])
for _, item in ipairs(pending) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, item[1], 'JUSTID')
end
if #pending < 100 then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[3]) end
return #pending
