-- Takes the lease of a partition when it is free or over. The epoch grows with every owner.
-- KEYS[1] meta; ARGV: gateway id, nonce, lease in ms, layout, 1 to take it only if its owner is overdue, replicas that
-- must have what is acknowledged
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'owner', 'lease', 'layout')
if held[1] and held[1] ~= '' and held[2] and tonumber(held[2]) > now_ms then
  return {'held', held[1], tonumber(held[2]) - now_ms}
end
if ARGV[5] == '1' and (not held[1] or held[1] == '') then return {'held', '', 0} end
if held[3] and held[3] ~= ARGV[4] then return {'layout', held[3]} end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'nonce', ARGV[2], 'lease', now_ms + tonumber(ARGV[3]),
  'layout', ARGV[4], 'replicas', ARGV[6])
return {'ok', now_ms, redis.call('HGETALL', KEYS[1])}
