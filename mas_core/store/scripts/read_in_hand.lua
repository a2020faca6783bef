-- Frames of one inbox that instances have in hand, the oldest first.
-- KEYS: inbox, work; ARGV: lane, after which entry ("-" for all), most frames, whether bodies are wanted (1 or 0)
-- Returns for each: entry, consumer, idle time in ms, deliveries, header, body, marks of what is settled, and of starts.
local from = ARGV[2] == '-' and '-' or '(' .. ARGV[2]
local pending = redis.pcall('XPENDING', KEYS[1], 'agent', from, '+', ARGV[3])
local found = {}
if type(pending) ~= 'table' or pending.err then return found end
for index, item in ipairs(pending) do
  local header, body = '', ''
  local entries = redis.call('XRANGE', KEYS[1], item[1], item[1])
  if entries[1] then
    for at = 1, #entries[1][2], 2 do
      if entries[1][2][at] == 'h' then header = entries[1][2][at + 1] end
      if entries[1][2][at] == 'b' and ARGV[4] == '1' then body = entries[1][2][at + 1] end
    end
  end
  local marks = redis.pcall('HMGET', KEYS[2], 'frame:' .. ARGV[1] .. ':' .. item[1], 'started:' .. ARGV[1] .. ':' .. item[1])
  local settled, started = '', ''
  if not marks.err then settled, started = marks[1] or '', marks[2] or '' end
  found[index] = {item[1], item[2], item[3], item[4], header, body, settled, started}
end
return found
