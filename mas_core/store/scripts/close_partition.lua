-- Takes a partition away from whoever owns it, so that nobody commits there and nobody can take it.
-- KEYS[1] meta; ARGV: what its layout is called meanwhile
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'owner', '', 'nonce', '', 'lease', 0, 'layout', ARGV[1])
return 1
