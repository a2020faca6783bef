-- Notes that an instance is about to handle frames that it has read, if they are in its hands on this server: after
-- a fail-over they may not be. Whoever waits for replicas behind it knows that they have the reading too.
-- KEYS: work, inboxes of the lanes high, normal, low; ARGV: consumer, then (lane number, lane name, frame)*
-- Returns 1 or 0 for each frame.
local held = {}
for at = 2, #ARGV, 3 do
  local inbox, frame = KEYS[1 + tonumber(ARGV[at])], ARGV[at + 2]
  local pending = redis.pcall('XPENDING', inbox, 'agent', frame, frame, 1)
  if not pending.err and #pending > 0 and pending[1][2] == ARGV[1] then
    redis.call('HSET', KEYS[1], 'begun:' .. ARGV[at + 1], frame)
    held[#held + 1] = 1
  else
    held[#held + 1] = 0
  end
end
return held
