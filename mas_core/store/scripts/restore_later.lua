-- Puts messages for later of a backup back, and notes how far that came; what is there stays as it is.
-- KEYS: mark, later, later bodies, held
-- ARGV: how many are done, how many after this; then for each: name, due, body, field of the facts, facts, field of
-- the decision, decision; "" for what there is none of
-- Returns how many were added and how many were there.
if (redis.call('HGET', KEYS[1], 'later') or '0') ~= ARGV[1] then return redis.error_reply('ERR restored by another') end
local added, known = 0, 0
for at = 3, #ARGV, 7 do
  if redis.call('HEXISTS', KEYS[3], ARGV[at]) == 1 then
    known = known + 1
  else
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 2])
    redis.call('ZADD', KEYS[2], ARGV[at + 1], ARGV[at])
    if ARGV[at + 4] ~= '' then redis.call('HSET', KEYS[4], ARGV[at + 3], ARGV[at + 4]) end
    if ARGV[at + 6] ~= '' then redis.call('HSET', KEYS[4], ARGV[at + 5], ARGV[at + 6]) end
    added = added + 1
  end
end
redis.call('HSET', KEYS[1], 'later', ARGV[2])
return {added, known}
