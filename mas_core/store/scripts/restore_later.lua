-- Puts messages for later of a backup back, and notes how far that came; what is there stays as it is.
-- KEYS: mark, later, later bodies, held, scheduled
-- ARGV: how many are done, how many after this; then for each: name, due, body, which of the keys has its facts,
-- their field, facts, field of what a person decided, that; "" for what there is none of
-- Returns how many were added and how many were there.
if (redis.call('HGET', KEYS[1], 'later') or '0') ~= ARGV[1] then return redis.error_reply('ERR restored by another') end
local added, known = 0, 0
for at = 3, #ARGV, 8 do
  if redis.call('HEXISTS', KEYS[3], ARGV[at]) == 1 then
    known = known + 1
  else
    local about = KEYS[tonumber(ARGV[at + 3])]
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 2])
    redis.call('ZADD', KEYS[2], ARGV[at + 1], ARGV[at])
    if ARGV[at + 5] ~= '' then redis.call('HSET', about, ARGV[at + 4], ARGV[at + 5]) end
    if ARGV[at + 7] ~= '' then redis.call('HSET', about, ARGV[at + 6], ARGV[at + 7]) end
    added = added + 1
  end
end
redis.call('HSET', KEYS[1], 'later', ARGV[2])
return {added, known}
