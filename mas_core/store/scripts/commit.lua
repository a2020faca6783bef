-- One atomic commit of a partition's owner: compare first, check every key, then write.
-- Scripts are not rolled back, so nothing may be written before all checks have passed.
-- KEYS[1]  meta; the others are what the commands write
-- SETTLE (key: work; arguments: key index of the inbox, lane, frame, total, positions) is settle_function.lua.
-- ARGV     lease in ms, number of expected meta fields, (field, value)*,
--          (type of KEYS[2], with ":N" when an entry N-0 must fit behind its last one)*,
--          then commands: (name, number of arguments, key index, arguments...)*
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local meta_type = redis.call('TYPE', KEYS[1]).ok
if meta_type ~= 'hash' then return {'changed', 'layout', ''} end

local at = 3
for _ = 1, tonumber(ARGV[2]) do
  local value = redis.call('HGET', KEYS[1], ARGV[at]) or ''
  if value ~= ARGV[at + 1] then return {'changed', ARGV[at], value} end
  at = at + 2
end

for index = 2, #KEYS do
  local found = redis.call('TYPE', KEYS[index]).ok
  local kind, entry = string.match(ARGV[at], '^(%a+):?(%d*)$')
  if found ~= 'none' and found ~= kind then return {'wrong_type', KEYS[index], found} end
  if found == 'stream' then
    local info = redis.call('XINFO', 'STREAM', KEYS[index])
    for field = 1, #info, 2 do
      -- A stream whose last id was pushed into the far future takes no entry with an id of its own.
      if info[field] == 'last-generated-id' then
        local ms = tonumber(string.match(info[field + 1], '^(%d+)-'))
        if ms > now_ms + 86400000 or (entry ~= '' and ms >= tonumber(entry)) then
          return {'blocked', KEYS[index], info[field + 1]}
        end
      end
    end
  end
  at = at + 1
end

local counts = {}
while at <= #ARGV do
  local name, size, key = ARGV[at], tonumber(ARGV[at + 1]), KEYS[tonumber(ARGV[at + 2])]
  if name == 'SETTLE' then
    settle(KEYS[tonumber(ARGV[at + 3])], key, ARGV[at + 4], ARGV[at + 5], '', tonumber(ARGV[at + 6]), ARGV[at + 7])
  else
    local reply = redis.call(name, key, unpack(ARGV, at + 3, at + 2 + size))
    if name == 'HINCRBY' then counts[#counts + 1] = reply end
  end
  at = at + 3 + size
end
redis.call('HSET', KEYS[1], 'lease', now_ms + tonumber(ARGV[1]))
return {'ok', now_ms, counts}
