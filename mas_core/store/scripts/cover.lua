-- Notes up to where the audit is about to be signed, if it ends there as it was read: after a fail-over it may not.
-- Whoever waits for replicas behind it knows that they have all of it.
-- KEYS: meta, audit; ARGV: sequence of a block's last record, SHA-1 of the block's text. Returns 1 or 0.
local found = redis.call('XRANGE', KEYS[2], ARGV[1] .. '-0', ARGV[1] .. '-0')
if #found == 0 then return 0 end
for at = 1, #found[1][2], 2 do
  if found[1][2][at] == 'r' and redis.sha1hex(found[1][2][at + 1]) == ARGV[2] then
    redis.call('HSET', KEYS[1], 'signing', ARGV[1])
    return 1
  end
end
return 0
