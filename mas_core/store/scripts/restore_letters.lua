-- Puts dead letters of a backup back, and notes how far that came.
-- A place that is taken or lies behind the newest one cannot be had again: such a letter gets a new one, and is
-- not dropped there, since its end was sealed for the old place.
-- KEYS: mark, dead, dropped, later, later bodies
-- ARGV: how many are done, how many after this; then for each: place, message id, until when it is dropped ("" when
-- it is not), name and sealed end for later, number of fields, fields and values
-- Returns how many were added and how many were there.
if (redis.call('HGET', KEYS[1], 'dead') or '0') ~= ARGV[1] then return redis.error_reply('ERR restored by another') end
local added, known, at = 0, 0, 3
while at <= #ARGV do
  local place, message_id, dropped, size = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 5])
  local is_there = false
  for _, item in ipairs(redis.call('XRANGE', KEYS[2], place, place)) do
    for field = 1, #item[2], 2 do
      if item[2][field] == 'message_id' and item[2][field + 1] == message_id then is_there = true end
    end
  end
  if is_there then
    known = known + 1
  else
    local reply = redis.pcall('XADD', KEYS[2], place, unpack(ARGV, at + 6, at + 5 + size * 2))
    if type(reply) == 'table' and reply.err then
      redis.call('XADD', KEYS[2], '*', unpack(ARGV, at + 6, at + 5 + size * 2))
    elseif dropped ~= '' then
      redis.call('ZADD', KEYS[3], dropped, place)
      redis.call('ZADD', KEYS[4], dropped, ARGV[at + 3])
      redis.call('HSET', KEYS[5], ARGV[at + 3], ARGV[at + 4])
    end
    added = added + 1
  end
  at = at + 6 + size * 2
end
redis.call('HSET', KEYS[1], 'dead', ARGV[2])
return {added, known}
