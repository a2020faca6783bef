-- Settles messages that an agent has handled, each with the state that its handler left.
-- KEYS: work, state, handled, inboxes of the lanes high, normal, low
-- ARGV: consumer, how long a mark of a handled message counts in ms,
--       then (lane number, frame, total, positions, expected revision or "", new state, mark or "")*
-- A message whose state was changed by somebody else since stays open: its handler runs again.
-- A mark names a message that may take effect once: one that is there already is settled without its state.
-- Where memory is full a server refuses what may grow, but only as a script's first write: so that what is
-- handled can be settled, which is what makes room, the first one removes a field that is not there.
redis.call('HDEL', KEYS[1], '')
local lanes = {'high', 'normal', 'low'}
-- How many were handled is counted: who weighs failures asks for it. When the last one was is noted: who looks
-- after the agents asks whether they move.
local results = {}
local handled, moves = 0, false
-- Whether a message is in this consumer's hands and not settled. The revision of one whose settlement was carried
-- out, but whose answer was lost, has grown by its own state: its handler must not run again for that.
local function is_open(inbox, lane, frame, position)
  local pending = redis.pcall('XPENDING', inbox, 'agent', frame, frame, 1)
  if pending.err or #pending == 0 or pending[1][2] ~= ARGV[1] then return false end
  local marks = redis.call('HGET', KEYS[1], 'frame:' .. lane .. ':' .. frame)
  local number = tonumber(position)
  return not marks or not number or string.sub(marks, number + 1, number + 1) == '.'
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 3, #ARGV, 7 do
  local lane = tonumber(ARGV[at])
  local expected = ARGV[at + 4]
  local mark = ARGV[at + 6]
  local revision = redis.call('HGET', KEYS[2], 'revision') or '0'
  local is_repeat = mark ~= '' and redis.call('ZSCORE', KEYS[3], mark)
  if expected ~= '' and expected ~= revision and not is_repeat then
    results[#results + 1] = is_open(KEYS[3 + lane], lanes[lane], ARGV[at + 1], ARGV[at + 3]) and -2 or -1
  else
    local newly = settle(KEYS[3 + lane], KEYS[1], lanes[lane], ARGV[at + 1], ARGV[1], tonumber(ARGV[at + 2]),
      ARGV[at + 3])
    if newly > 0 then moves = true end
    if newly > 0 and is_repeat then
      newly = -3
    elseif newly > 0 then
      if expected ~= '' then
        redis.call('HSET', KEYS[2], 'data', ARGV[at + 5])
        redis.call('HINCRBY', KEYS[2], 'revision', 1)
      end
      if mark ~= '' then
        redis.call('ZADD', KEYS[3], now, mark)
        redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - tonumber(ARGV[2]))
        redis.call('PEXPIRE', KEYS[3], ARGV[2])
      end
    end
    results[#results + 1] = newly
    if newly > 0 then handled = handled + newly end
  end
end
if handled > 0 then
  local count = redis.pcall('HINCRBY', KEYS[1], 'handled', handled)
  if type(count) == 'table' then redis.call('HSET', KEYS[1], 'handled', handled) end
end
if moves then redis.call('HSET', KEYS[1], 'moved', now) end
return results
