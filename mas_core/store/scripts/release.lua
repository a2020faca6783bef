-- Takes frames out of the hands of instances that have had them for long; the next other instance that looks takes over.
-- KEYS: work, inbox; ARGV: lane name, idle time in ms, most frames, who gets them, who keeps what it has, do it (1 or 0)
-- Returns entry and consumer of each.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local released = {}
for _, item in ipairs(redis.call('XPENDING', KEYS[2], 'agent', 'IDLE', ARGV[2], '-', '+', ARGV[3])) do
  if item[2] ~= ARGV[4] and item[2] ~= ARGV[5] then
    if ARGV[6] == '1' then
      redis.call('XCLAIM', KEYS[2], 'agent', ARGV[4], 0, item[1], 'JUSTID')
      -- Whoever had it may have started any of its messages unmarked.
      local field = 'started:' .. ARGV[1] .. ':' .. item[1]
      local started = redis.call('HGET', KEYS[1], field) or ''
      local mark = '*=' .. string.format('%.0f', now_ms) .. '=' .. item[2]
      redis.call('HSET', KEYS[1], field, started == '' and mark or (mark .. ' ' .. started))
    end
    released[#released + 1] = {item[1], item[2]}
  end
end
return released
