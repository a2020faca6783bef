-- Frames of one inbox that no instance has read yet, the next first.
-- KEYS: inbox; ARGV: after which entry ("-" for all), most frames, whether bodies are wanted (1 or 0)
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
if found.err then return {} end
if ARGV[3] ~= '1' then
  for _, entry in ipairs(found) do
    local header = ''
    for at = 1, #entry[2], 2 do
      if entry[2][at] == 'h' then header = entry[2][at + 1] end
    end
    entry[2] = {'h', header}
  end
end
return found
