-- What a topic's log holds, without the messages themselves.
-- KEYS: log; ARGV: since when (ms) messages are counted, and in how many entries at most
-- Returns entries, id of the first, id of the last, messages since then, whether all of those were looked at.
if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then return {0, '', '', 0, 1} end
local function id_of(found) return found[1] and found[1][1] or '' end
local first = id_of(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1))
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local count, whole, upper, left = 0, 0, '+', tonumber(ARGV[2])
while left > 0 do
  local found = redis.call('XREVRANGE', KEYS[1], upper, '-', 'COUNT', 8)
  if #found == 0 then whole = 1 break end
  for _, entry in ipairs(found) do
    local value = {}
    for at = 1, #entry[2], 2 do value[entry[2][at]] = entry[2][at + 1] end
    if (tonumber(value.t) or 0) < tonumber(ARGV[1]) then whole = 1 left = 0 break end
    count = count + (tonumber(value.n) or 0)
    left = left - 1
    local last, minor = string.match(entry[1], '^(%d+)-(%d+)$')
    if minor == '0' and last == '0' then left = 0 break end
    if minor == '0' then
      upper = string.format('%.0f', tonumber(last) - 1) .. '-18446744073709551615'
    else
      upper = last .. '-' .. string.format('%.0f', tonumber(minor) - 1)
    end
  end
end
return {redis.call('XLEN', KEYS[1]), first, id_of(newest), count, whole}
