-- One atomic commit of a partition's owner: compare first, check every key, then write.
-- Scripts are not rolled back, so nothing may be written before all checks have passed.
-- KEYS[1]  meta; the others are what the commands write
-- SETTLE (key: work; arguments: key index of the inbox, lane, frame, total, positions) is settle_function.lua,
-- NOTE (key: log of changed agents; arguments: agent, entries to keep) note_change_function.lua,
-- LOG (key: log of a topic; arguments: key index of the sizes, the rest of append_log) append_log_function.lua.
-- ARGV     lease in ms, number of expected meta fields, (field, value)*,
--          (type of KEYS[2], or "any" where a wrong one stops nothing)*,
--          then commands: (name, number of arguments, key index, arguments...)*
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local meta_type = redis.call('TYPE', KEYS[1]).ok
if meta_type ~= 'hash' then return {'changed', 'layout', ''} end

local at, moves = 3, false
for _ = 1, tonumber(ARGV[2]) do
  local value = redis.call('HGET', KEYS[1], ARGV[at]) or ''
  if value ~= ARGV[at + 1] then return {'changed', ARGV[at], value} end
  if string.sub(ARGV[at], 1, 7) == 'cursor:' then moves = true end
  at = at + 2
end

local is_new = {}
for index = 2, #KEYS do
  local found = redis.call('TYPE', KEYS[index]).ok
  is_new[KEYS[index]] = found == 'none'
  if found ~= 'none' and found ~= ARGV[at] and ARGV[at] ~= 'any' then return {'wrong_type', KEYS[index], found} end
  at = at + 1
end

-- A server that takes no writes (memory or disk full, a replica, too few replicas) says so at the first one, which
-- must not be one whose failure is taken for a stream that takes no entries.
redis.call('HSET', KEYS[1], 'lease', now_ms + tonumber(ARGV[1]))

-- Adding to a stream is the one write that can fail after this: somebody may have pushed its last id to
-- the end of time, or put an entry where the next audit record belongs. So entries are added first, and taken
-- back when one of them cannot be.
local added = {}
local function add(position)
  local size, key = tonumber(ARGV[position + 1]), KEYS[tonumber(ARGV[position + 2])]
  local reply = redis.pcall('XADD', key, unpack(ARGV, position + 3, position + 2 + size))
  if type(reply) == 'table' then
    for _, entry in ipairs(added) do
      redis.call('XDEL', entry[1], entry[2])
      if is_new[entry[1]] and redis.call('XLEN', entry[1]) == 0 then redis.call('DEL', entry[1]) end
    end
    return {'blocked', key, ''}
  end
  added[#added + 1] = {key, reply}
end
local others, audit = {}, nil
while at <= #ARGV do
  if ARGV[at] ~= 'XADD' then
    others[#others + 1] = at
  elseif ARGV[at + 3] ~= '*' then
    audit = at
  else
    local failure = add(at)
    if failure then return failure end
  end
  at = at + 3 + tonumber(ARGV[at + 1])
end
if audit then
  local failure = add(audit)
  if failure then return failure end
end

for _, position in ipairs(others) do
  local name, size = ARGV[position], tonumber(ARGV[position + 1])
  local key = KEYS[tonumber(ARGV[position + 2])]
  if name == 'SETTLE' then
    local newly = settle(KEYS[tonumber(ARGV[position + 3])], key, ARGV[position + 4], ARGV[position + 5], '',
      tonumber(ARGV[position + 6]), ARGV[position + 7])
    redis.call('HSET', key, 'moved', now_ms)
    if newly > 0 then
      local count = redis.pcall('HINCRBY', key, 'handed_back', newly)
      if type(count) == 'table' then redis.call('HSET', key, 'handed_back', newly) end
    end
  elseif name == 'NOTE' then
    note_change(key, ARGV[position + 3], ARGV[position + 4])
  elseif name == 'LOG' then
    append_log(key, KEYS[tonumber(ARGV[position + 3])], ARGV[position + 4], ARGV[position + 5], ARGV[position + 6],
      ARGV[position + 7], ARGV[position + 8], ARGV[position + 9], tonumber(ARGV[position + 10]),
      tonumber(ARGV[position + 11]), tonumber(ARGV[position + 12]))
  else
    local reply = redis.pcall(name, key, unpack(ARGV, position + 3, position + 2 + size))
    if type(reply) == 'table' and reply.err then
      -- A count in a hash that its agent may write can be no number any more: it starts anew.
      if name == 'HINCRBY' then redis.call('HSET', key, ARGV[position + 3], ARGV[position + 4]) end
    end
  end
end
-- When a cursor moved last says whether the owner takes what waits; the lease only says that it lives.
if moves then redis.call('HSET', KEYS[1], 'moved', now_ms) end
return {'ok', now_ms}
