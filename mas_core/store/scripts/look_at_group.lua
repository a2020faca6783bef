-- Who reads a topic's log together. KEYS: log; ARGV: group
-- Returns the last entry that the group was given, '' where there is no such group; then for each consumer its name,
-- for how many ms it has asked for nothing, and how many entries are in its hands.
local function named(flat)
  local found = {}
  for at = 1, #flat, 2 do found[flat[at]] = flat[at + 1] end
  return found
end
local groups = redis.pcall('XINFO', 'GROUPS', KEYS[1])
if groups.err then return {''} end
for _, flat in ipairs(groups) do
  local group = named(flat)
  if group.name == ARGV[1] then
    local reply = {group['last-delivered-id']}
    for _, item in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
      local consumer = named(item)
      reply[#reply + 1] = consumer.name
      reply[#reply + 1] = consumer.idle
      reply[#reply + 1] = consumer.pending
    end
    return reply
  end
end
return {''}
