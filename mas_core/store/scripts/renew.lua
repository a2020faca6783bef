-- Extends the lease of its owner, or gives it up when ARGV[2] is 0.
-- KEYS[1] meta; ARGV: nonce, lease in ms
if redis.call('HGET', KEYS[1], 'nonce') ~= ARGV[1] then return 0 end
local now = redis.call('TIME')
if tonumber(ARGV[2]) == 0 then
  redis.call('HSET', KEYS[1], 'owner', '', 'nonce', '', 'lease', 0)
else
  redis.call('HSET', KEYS[1], 'lease', now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[2]))
end
return 1
