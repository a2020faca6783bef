-- Keeps a stream of replies for longer, if it has the entry that was read: after a fail-over it may not.
-- KEYS[1] replies; ARGV: entry, expiry in ms. Returns 1 or 0.
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
