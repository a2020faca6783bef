-- Takes over frames of instances that are gone. An instance is gone when its heartbeat lapsed, when it said
-- goodbye (seen = 0), or when it was never heard of although its frames have been waiting that long.
-- KEYS: work, agent, inboxes of the lanes high, normal, low
-- ARGV: consumer that claims, how long a heartbeat counts in ms, most frames to take
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local lanes = {'high', 'normal', 'low'}
local alive = {}
local claimed = {}
for lane = 1, 3 do
  local inbox = KEYS[2 + lane]
  local pending = redis.call('XPENDING', inbox, 'agent', '-', '+', tonumber(ARGV[3]))
  for _, entry in ipairs(pending) do
    local frame, consumer, idle = entry[1], entry[2], tonumber(entry[3])
    if consumer ~= ARGV[1] and #claimed < tonumber(ARGV[3]) then
      if alive[consumer] == nil then
        local seen = redis.call('HGET', KEYS[2], 'seen:' .. consumer)
        if seen then
          alive[consumer] = tonumber(seen) + tonumber(ARGV[2]) > now_ms
        else
          alive[consumer] = idle < tonumber(ARGV[2])
        end
      end
      if not alive[consumer] then
        local taken = redis.call('XCLAIM', inbox, 'agent', ARGV[1], 0, frame)
        if taken[1] then
          local work = redis.call('HMGET', KEYS[1], 'frame:' .. lanes[lane] .. ':' .. frame,
            'started:' .. lanes[lane] .. ':' .. frame)
          claimed[#claimed + 1] = {lane, frame, taken[1][2], work[1] or '', work[2] or ''}
        end
      end
    end
  end
end
return claimed
