-- What waits in streams, without the entries themselves, which may be large.
-- KEYS: streams
-- Returns for each: its length, the id of its first entry or "", and (consumer, entries in its hands)*
local found = {}
for index, stream in ipairs(KEYS) do
  local length = redis.pcall('XLEN', stream)
  local first = redis.pcall('XRANGE', stream, '-', '+', 'COUNT', 1)
  local hands = {}
  local pending = redis.pcall('XPENDING', stream, 'agent')
  if type(pending) == 'table' and not pending.err and type(pending[4]) == 'table' then
    for _, consumer in ipairs(pending[4]) do
      hands[#hands + 1] = consumer[1]
      hands[#hands + 1] = tonumber(consumer[2])
    end
  end
  found[index] = {
    type(length) == 'number' and length or 0,
    not first.err and first[1] and first[1][1] or '',
    hands
  }
end
return found
