-- Marks messages of a delivered frame as settled; with the last one the frame leaves the inbox.
-- Returns how many were newly settled, or -1 when the frame is no longer in this consumer's hands.
-- `positions` are numbers from 0 with spaces between, or "*" for all.
-- The work hash keeps, while a frame is partly settled, one character a message: "." open, "x" settled.
local function settle(inbox, work, lane, frame, consumer, total, positions)
  -- An inbox that somebody deleted must not tear a commit that has written already.
  local pending = redis.pcall('XPENDING', inbox, 'agent', frame, frame, 1)
  if pending.err or #pending == 0 or (consumer ~= '' and pending[1][2] ~= consumer) then
    return -1
  end
  local field = 'frame:' .. lane .. ':' .. frame
  local marks = redis.call('HGET', work, field)
  local newly = 0
  if positions == '*' then
    -- The whole frame, the common case under load, is settled without looking at each message.
    newly = total
    if marks then newly = select(2, string.gsub(marks, '%.', '')) end
    marks, positions = '', ''
  elseif not marks then
    marks = string.rep('.', total)
  end
  for position in string.gmatch(positions, '%d+') do
    local at = tonumber(position) + 1
    if at <= total and string.sub(marks, at, at) == '.' then
      marks = string.sub(marks, 1, at - 1) .. 'x' .. string.sub(marks, at + 1)
      newly = newly + 1
    end
  end
  if not string.find(marks, '.', 1, true) then
    redis.call('XACK', inbox, 'agent', frame)
    redis.call('XDEL', inbox, frame)
    redis.call('HDEL', work, field, 'started:' .. lane .. ':' .. frame)
  elseif newly > 0 then
    redis.call('HSET', work, field, marks)
  end
  if newly > 0 then
    local count = redis.pcall('HINCRBY', work, 'unsettled:' .. lane, -newly)
    if type(count) == 'table' then redis.call('HSET', work, 'unsettled:' .. lane, 0) end
  end
  return newly
end
