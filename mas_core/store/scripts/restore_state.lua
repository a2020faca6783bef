-- Puts the state of an agent back. Its revision never goes back, so nobody takes the change for what it has seen.
-- KEYS[1] state; ARGV: revision and data of the backup, revision that an operator set last
local found = redis.call('HMGET', KEYS[1], 'revision', 'data')
local revision, wanted = tonumber(found[1] or '0') or 0, tonumber(ARGV[1])
if found[2] == ARGV[2] and revision >= wanted then return 0 end
local ordered = ARGV[3]
if found[1] then
  wanted = math.max(revision, wanted) + 1
  ordered = wanted
end
redis.call('HSET', KEYS[1], 'revision', wanted, 'data', ARGV[2])
if tonumber(ordered) > 0 then redis.call('HSET', KEYS[1], 'ordered', ordered) end
return 1
