-- Marks one message of a frame as started, before its handler runs, if the frame is in this consumer's hands.
-- The mark is "position=attempts" pairs; a message that kills its process burns only its own attempts.
-- KEYS: work, inbox of the lane; ARGV: lane name, frame, position, consumer
-- Returns the number of this start among the marked ones, or -1 when the message is settled or in other hands.
local pending = redis.pcall('XPENDING', KEYS[2], 'agent', ARGV[2], ARGV[2], 1)
if pending.err or #pending == 0 or pending[1][2] ~= ARGV[4] then return -1 end
local settled = redis.call('HGET', KEYS[1], 'frame:' .. ARGV[1] .. ':' .. ARGV[2])
local at = tonumber(ARGV[3]) + 1
if settled and string.sub(settled, at, at) == 'x' then return -1 end
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
