-- Replaces the state of an agent when its revision is still the expected one ("" for any).
-- KEYS[1] state; ARGV: expected revision, new state, "1" when an operator set it, then group and term of the leader who
-- writes it, if it is one: of a term older than one that has written before, nothing is taken.
if ARGV[4] then
  local highest = redis.call('HGET', KEYS[1], 'fence:' .. ARGV[4])
  if highest and tonumber(highest) > tonumber(ARGV[5]) then return {-1, highest} end
end
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if ARGV[1] ~= '' and ARGV[1] ~= revision then return {0, revision} end
redis.call('HSET', KEYS[1], 'data', ARGV[2])
local new = redis.call('HINCRBY', KEYS[1], 'revision', 1)
if ARGV[4] then redis.call('HSET', KEYS[1], 'fence:' .. ARGV[4], ARGV[5]) end
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'ordered', new) end
return {1, new}
