-- Settles messages that an agent has handled, each with the state that its handler left.
-- KEYS: work, state, inboxes of the lanes high, normal, low
-- ARGV: consumer, then (lane number, frame, total, positions, expected revision or "", new state)*
-- A message whose state was changed by somebody else since stays open: its handler runs again.
local lanes = {'high', 'normal', 'low'}
-- How many were handled is counted: who weighs failures asks for it.
local results = {}
local handled = 0
for at = 2, #ARGV, 6 do
  local lane = tonumber(ARGV[at])
  local expected = ARGV[at + 4]
  local revision = redis.call('HGET', KEYS[2], 'revision') or '0'
  if expected ~= '' and expected ~= revision then
    results[#results + 1] = -2
  else
    local newly = settle(KEYS[2 + lane], KEYS[1], lanes[lane], ARGV[at + 1], ARGV[1], tonumber(ARGV[at + 2]),
      ARGV[at + 3])
    if expected ~= '' and newly > 0 then
      redis.call('HSET', KEYS[2], 'data', ARGV[at + 5])
      redis.call('HINCRBY', KEYS[2], 'revision', 1)
    end
    results[#results + 1] = newly
    if newly > 0 then handled = handled + newly end
  end
end
if handled > 0 then
  local count = redis.pcall('HINCRBY', KEYS[1], 'handled', handled)
  if type(count) == 'table' then redis.call('HSET', KEYS[1], 'handled', handled) end
end
return results
