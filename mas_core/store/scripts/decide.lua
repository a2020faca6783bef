-- Writes the decision about a held message if nobody has decided yet, and makes the message due.
-- KEYS: held, later, later bodies; ARGV: name for later, field of the facts, field of the decision, decision
-- Returns ok, missing, late, or decided with what was decided.
local due = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not due or redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 or redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then
  return {'missing', ''}
end
local decided = redis.call('HGET', KEYS[1], ARGV[3])
if decided then return {'decided', decided} end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
if tonumber(due) <= now_ms then return {'late', ''} end
redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[2], now_ms, ARGV[1])
return {'ok', ''}
