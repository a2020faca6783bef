-- Marks one message of a claimed frame as started, before its handler runs.
-- The mark is "position=attempts" pairs; a message that kills its process burns only its own attempts.
-- KEYS[1] work; ARGV: lane name, frame, position. Returns the number of this attempt among claimed ones.
local field = 'started:' .. ARGV[1] .. ':' .. ARGV[2]
local marks = redis.call('HGET', KEYS[1], field) or ''
local attempts = 0
local kept = {}
for position, count in string.gmatch(marks, '(%d+)=(%d+)') do
  if position == ARGV[3] then attempts = tonumber(count) else kept[#kept + 1] = position .. '=' .. count end
end
attempts = attempts + 1
kept[#kept + 1] = ARGV[3] .. '=' .. attempts
redis.call('HSET', KEYS[1], field, table.concat(kept, ' '))
return attempts
