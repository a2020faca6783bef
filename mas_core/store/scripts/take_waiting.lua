-- Takes frames that no instance has read into the hands of somebody who is no instance, so that none reads them.
-- KEYS: inbox; ARGV: consumer, after which entry ("-" for all), up to which entry, most frames
-- Returns the entries that the consumer has in hand, those included that it had before.
-- An agent that has never run has no group yet.
redis.pcall('XGROUP', 'CREATE', KEYS[1], 'agent', '0', 'MKSTREAM')
local after = ARGV[2] == '-' and '-' or '(' .. ARGV[2]
local taken = {}
local most = tonumber(ARGV[4])
for _, item in ipairs(redis.call('XPENDING', KEYS[1], 'agent', after, ARGV[3], most, ARGV[1])) do
  taken[#taken + 1] = item[1]
end
local newest = '-'
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local fact = {}
  for at = 1, #group, 2 do fact[group[at]] = group[at + 1] end
  if fact.name == 'agent' then newest = '(' .. fact['last-delivered-id'] end
end
local wanted = most - #taken
if wanted > 0 then
  local waiting = redis.call('XRANGE', KEYS[1], newest, ARGV[3], 'COUNT', wanted)
  if #waiting > 0 then
    local read = redis.call('XREADGROUP', 'GROUP', 'agent', ARGV[1], 'COUNT', #waiting, 'STREAMS', KEYS[1], '>')
    for _, entry in ipairs(read[1][2]) do taken[#taken + 1] = entry[1] end
  end
end
return taken
