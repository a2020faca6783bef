-- Adds a frame to a topic's log under the number of its last message, and trims the log. What somebody else has
-- put in its place, or at the end of time, goes; nothing there may stop the commit.
local function append_log(log, sizes, field, last, header, body, count, time, oldest, first, most)
  if redis.call('TYPE', log).ok ~= 'stream' then redis.call('DEL', log) end
  local id = last .. '-0'
  local function add()
    return type(redis.pcall('XADD', log, id, 'h', header, 'b', body, 'n', count, 't', time)) ~= 'table'
  end
  if not add() then
    local forged = redis.pcall('XRANGE', log, id, '+', 'COUNT', 1000)
    for _, entry in ipairs(forged.err and {} or forged) do redis.pcall('XDEL', log, entry[1]) end
    local before = string.format('%.0f', tonumber(last) - count) .. '-0'
    redis.pcall('XSETID', log, before)
    -- Whoever was given what was forged must be given what comes in its place.
    local groups = redis.pcall('XINFO', 'GROUPS', log)
    for _, flat in ipairs(groups.err and {} or groups) do
      local group = {}
      for at = 1, #flat, 2 do group[flat[at]] = flat[at + 1] end
      if tonumber(string.match(group['last-delivered-id'], '^%d+')) >= tonumber(last) then
        redis.pcall('XGROUP', 'SETID', log, group.name, before)
      end
    end
    if not add() then
      redis.call('DEL', log)
      redis.call('HSET', sizes, field, 0)
      add()
    end
  end
  local size = (tonumber(redis.call('HGET', sizes, field)) or 0) + #header + #body
  redis.call('HSET', sizes, field, size)
  trim_log(log, sizes, field, oldest, first, most)
end
