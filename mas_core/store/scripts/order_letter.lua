-- Makes an order about a dead letter due, if the dead letter is there and nobody has ordered anything else.
-- KEYS: dead, dropped, later, later bodies
-- ARGV: entry, name for later, sealed order, retry|drop|restore, part of a millisecond that keeps the sequence
-- Returns ok, missing, ordered, dropped (it has to be restored first) or kept (it is not dropped).
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 'missing' end
local dropped = redis.call('ZSCORE', KEYS[2], ARGV[1])
if ARGV[4] == 'restore' then
  if not dropped then return 'kept' end
elseif dropped then
  return 'dropped'
end
if redis.call('HEXISTS', KEYS[4], ARGV[2]) == 1 then return 'ordered' end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('HSET', KEYS[4], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[3], string.format('%.3f', now_ms + tonumber(ARGV[5])), ARGV[2])
return 'ok'
