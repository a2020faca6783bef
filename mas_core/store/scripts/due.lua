-- Names of what is due, the longest due first, as many as fit into one batch; the first one always.
-- KEYS: later, later bodies; ARGV: now, most names, most bytes of their bodies
-- Returns whether there is more (1 or 0), and the names.
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, tonumber(ARGV[2]) + 1)
local found, bytes = {}, 0
for index, name in ipairs(names) do
  bytes = bytes + redis.call('HSTRLEN', KEYS[2], name)
  if index > tonumber(ARGV[2]) or (index > 1 and bytes > tonumber(ARGV[3])) then return {1, found} end
  found[index] = name
end
return {0, found}
