-- Replaces the state of an agent when its revision is still the expected one ("" for any).
-- KEYS[1] state; ARGV: expected revision, new state, "1" when an operator set it
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if ARGV[1] ~= '' and ARGV[1] ~= revision then return {0, revision} end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
local new = redis.call('HINCRBY', KEYS[1], 'revision', 1)
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'ordered', new) end
return {1, new}
