-- Takes over frames of instances that are gone. An instance is gone when its heartbeat lapsed and it reads no more,
-- when it said goodbye (seen = 0), or when it was never heard of although it has not read for that long.
-- What an operator has released is taken over at once, but not by an instance that had it before.
-- Heartbeats of all lapse while no gateway notes them; who reads is alive all the same.
-- KEYS: work, agent, inboxes of the lanes high, normal, low
-- ARGV: consumer that claims, how long a heartbeat counts in ms, most frames to take,
--       how long whose heartbeat lapsed may not have read, in ms
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local lanes = {'high', 'normal', 'low'}
local most = tonumber(ARGV[3])
local claimed = {}

local function is_gone(consumer, idle)
  if consumer == 'released' then return true end
  local seen = redis.call('HGET', KEYS[2], 'seen:' .. consumer)
  if seen == '0' then return true end
  if seen then return tonumber(seen) + tonumber(ARGV[2]) <= now_ms and idle >= tonumber(ARGV[4]) end
  return idle >= tonumber(ARGV[2])
end

for lane = 1, 3 do
  local inbox = KEYS[2 + lane]
  for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', inbox, 'agent')) do
    local fact = {}
    for at = 1, #info, 2 do fact[info[at]] = info[at + 1] end
    local wanted = most - #claimed
    if fact.name ~= ARGV[1] and fact.pending > 0 and wanted > 0 and is_gone(fact.name, fact.idle) then
      local looked_at = fact.name == 'released' and 1000 or wanted
      for _, entry in ipairs(redis.call('XPENDING', inbox, 'agent', '-', '+', looked_at, fact.name)) do
        local frame = entry[1]
        local had = redis.call('HGET', KEYS[1], 'started:' .. lanes[lane] .. ':' .. frame) or ''
        local is_ours = fact.name == 'released' and string.find(had, '=' .. ARGV[1], 1, true)
        local taken = {}
        if not is_ours and #claimed < most then taken = redis.call('XCLAIM', inbox, 'agent', ARGV[1], 0, frame) end
        if taken[1] then
          local marks = redis.call('HGET', KEYS[1], 'frame:' .. lanes[lane] .. ':' .. frame)
          local field = 'started:' .. lanes[lane] .. ':' .. frame
          local started = redis.call('HGET', KEYS[1], field) or ''
          if not string.find(started, '*=', 1, true) then
            -- Whoever read it first may have started any of its messages unmarked.
            local mark = '*=' .. string.format('%.0f', now_ms) .. '=' .. fact.name
            redis.call('HSET', KEYS[1], field, started == '' and mark or (mark .. ' ' .. started))
          end
          claimed[#claimed + 1] = {lane, frame, taken[1][2], marks or ''}
        end
      end
    end
  end
end
return claimed
