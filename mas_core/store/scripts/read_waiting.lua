-- Frames of one inbox that no instance has read yet, the next first.
-- KEYS: inbox; ARGV: after which entry ("-" for all), most frames
-- Returns entries with their fields.
local from = ARGV[1]
if from == '-' then
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
  if groups.err then return {} end
  for _, group in ipairs(groups) do
    local fact = {}
    for at = 1, #group, 2 do fact[group[at]] = group[at + 1] end
    if fact.name == 'agent' then from = fact['last-delivered-id'] end
  end
end
local found = redis.pcall('XRANGE', KEYS[1], from == '-' and '-' or '(' .. from, '+', 'COUNT', ARGV[2])
return found.err and {} or found
