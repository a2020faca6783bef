-- Reserves up to ARGV[1] messages of an agent's rate limit, counted once for a whole batch.
-- Counts lie in slots of a second (minute window) and of a minute (hour window). Every slot that touches the
-- window counts in full, so no sliding window ever holds more than its limit.
-- KEYS[1] limit; ARGV: wanted, per minute, per hour. Returns granted, ms until more, the window that was full.
local now = redis.call('TIME')
local second = tonumber(now[1])
local minute = math.floor(second / 60)
local wanted, per_minute, per_hour = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local slots = redis.call('HGETALL', KEYS[1])
local in_minute, in_hour = 0, 0
local first_second, first_minute = second, minute
local stale = {}
for at = 1, #slots, 2 do
  local kind, number = string.sub(slots[at], 1, 1), tonumber(string.sub(slots[at], 2))
  local count = tonumber(slots[at + 1])
  if kind == 's' then
    if number < second - 60 then stale[#stale + 1] = slots[at] else
      in_minute = in_minute + count
      if number < first_second then first_second = number end
    end
  else
    if number < minute - 60 then stale[#stale + 1] = slots[at] else
      in_hour = in_hour + count
      if number < first_minute then first_minute = number end
    end
  end
end
if #stale > 0 then redis.call('HDEL', KEYS[1], unpack(stale)) end
local left_minute, left_hour = math.max(0, per_minute - in_minute), math.max(0, per_hour - in_hour)
local granted = math.min(wanted, left_minute, left_hour)
if granted > 0 then
  redis.call('HINCRBY', KEYS[1], 's' .. second, granted)
  redis.call('HINCRBY', KEYS[1], 'm' .. minute, granted)
  redis.call('PEXPIRE', KEYS[1], 3720000)
end
if granted == wanted then return {granted, 0, ''} end
if left_hour <= left_minute then
  return {granted, ((first_minute + 61) * 60 - second) * 1000, 'hour'}
end
return {granted, (first_second + 61 - second) * 1000, 'minute'}
