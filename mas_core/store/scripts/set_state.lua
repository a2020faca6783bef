-- Replaces the state of an agent when its revision is still the expected one ("" for any).
-- KEYS[1] state; ARGV: expected revision, new state
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if ARGV[1] ~= '' and ARGV[1] ~= revision then return {0, revision} end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
return {1, redis.call('HINCRBY', KEYS[1], 'revision', 1)}
