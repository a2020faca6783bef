-- Extends the lease of its owner, or gives it up when ARGV[2] is 0.
-- KEYS[1] meta; ARGV: nonce, lease in ms, then sequence and head of the audit where they have to be these.
-- Returns 1, or 0 when it is not as expected.
if redis.call('HGET', KEYS[1], 'nonce') ~= ARGV[1] then return 0 end
if ARGV[3] then
  local audit = redis.call('HMGET', KEYS[1], 'audit_seq', 'audit_head')
  if (audit[1] or '') ~= ARGV[3] or (audit[2] or '') ~= ARGV[4] then return 0 end
end
local now = redis.call('TIME')
if tonumber(ARGV[2]) == 0 then
  redis.call('HSET', KEYS[1], 'owner', '', 'nonce', '', 'lease', 0)
else
  redis.call('HSET', KEYS[1], 'lease', now[1] * 1000 + math.floor(now[2] / 1000) + tonumber(ARGV[2]))
end
return 1
