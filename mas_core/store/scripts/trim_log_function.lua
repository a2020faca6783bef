-- Takes entries off the beginning of a topic's log: those from before `oldest` (ms), those of messages below
-- `first`, and as many more as are needed until the rest has at most `most` bytes. What has not the fields of an
-- entry of ours goes as well. Returns the bytes that stay and the time of the oldest entry, 0 when there is none.
local function trim_log(log, sizes, field, oldest, first, most)
  local size = tonumber(redis.call('HGET', sizes, field)) or 0
  local before, kept_since = size, 0
  while true do
    local found = redis.call('XRANGE', log, '-', '+', 'COUNT', 2)
    if #found == 0 then size = 0 break end
    local id, fields = found[1][1], found[1][2]
    local value = {}
    for at = 1, #fields, 2 do value[fields[at]] = fields[at + 1] end
    local time = tonumber(value.t)
    local bytes = #(value.h or '') + #(value.b or '')
    local last, minor = string.match(id, '^(%d+)-(%d+)$')
    if time and time >= oldest and tonumber(last) >= first and (size <= most or #found == 1) then
      kept_since = time
      break
    end
    redis.call('XTRIM', log, 'MINID', last .. '-' .. string.format('%.0f', tonumber(minor) + 1))
    size = math.max(0, size - bytes)
  end
  if size ~= before then redis.call('HSET', sizes, field, size) end
  return {size, kept_since}
end
