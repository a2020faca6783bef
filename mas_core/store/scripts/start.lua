-- Marks one message of a frame as started, before its handler runs, if the frame is in this consumer's hands.
-- Marks are "position=time=consumer" with spaces between; a message that kills its process burns only its own starts.
-- KEYS: work, inbox of the lane; ARGV: lane name, frame, position, consumer
-- Returns the number of this start among the marked ones, or -1 when the message is settled or in other hands.
-- One that another consumer has started is not marked again: who holds it now has to hand it back.
local pending = redis.pcall('XPENDING', KEYS[2], 'agent', ARGV[2], ARGV[2], 1)
if pending.err or #pending == 0 or pending[1][2] ~= ARGV[4] then return -1 end
local settled = redis.call('HGET', KEYS[1], 'frame:' .. ARGV[1] .. ':' .. ARGV[2])
local at = tonumber(ARGV[3]) + 1
if settled and string.sub(settled, at, at) == 'x' then return -1 end
-- Where memory is full only a first write that may grow is refused, and this one makes room in the end.
redis.call('HDEL', KEYS[1], '')
local field = 'started:' .. ARGV[1] .. ':' .. ARGV[2]
local marks = redis.call('HGET', KEYS[1], field) or ''
local starts = 0
local is_of_another = false
for position, consumer in string.gmatch(marks, '(%d+)=%d+=(%S+)') do
  if position == ARGV[3] then
    starts = starts + 1
    is_of_another = is_of_another or consumer ~= ARGV[4]
  end
end
if not is_of_another then
  local now = redis.call('TIME')
  local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
  local mark = ARGV[3] .. '=' .. string.format('%.0f', now_ms) .. '=' .. ARGV[4]
  redis.call('HSET', KEYS[1], field, marks == '' and mark or (marks .. ' ' .. mark))
end
return starts + 1
