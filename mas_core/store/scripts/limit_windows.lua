-- A window is a list of "time total" entries, oldest first. A total counts everything since the list began, so
-- what lies in the window is the last total less the one of the head: the newest entry that has left the window,
-- or, of a new list, one that counts nothing. A place taken in a millisecond is counted until the whole window
-- after that millisecond is over.

-- Time and total of one entry; nil when there is none, false when it is none of ours.
local function entry(key, index)
  local text = redis.pcall('LINDEX', key, index)
  if not text then return nil end
  if type(text) == 'table' then return false end
  local at, total = string.match(text, '^(%d+) (%d+)$')
  if not at then return false end
  return tonumber(at), tonumber(total)
end

local function drop_what_left(key, length, now)
  local passed
  repeat
    passed = 0
    for _, text in ipairs(redis.call('LRANGE', key, 1, 64)) do
      if tonumber(string.match(text, '^%d+') or now) + length >= now then break end
      passed = passed + 1
    end
    if passed > 0 then redis.call('LTRIM', key, passed, -1) end
  until passed < 64
end

-- The windows of one subject with what is used of each, and the time under which places are counted there, which
-- never goes back; nil when somebody wrote something else under one of the keys. What has left a window is told by
-- the server's own time, as places may be counted under a later one. Arguments of a window: length in ms, most, grain in ms.
local function open_windows(first_key, first_argument, count, now)
  local windows = {}
  local counted_at = now
  for number = 1, count do
    local argument = first_argument + 3 * (number - 1)
    local window = {
      key = KEYS[first_key + number - 1],
      length = tonumber(ARGV[argument]),
      most = tonumber(ARGV[argument + 1]),
      grain = tonumber(ARGV[argument + 2]),
    }
    window.at, window.total = entry(window.key, -1)
    if window.at == false then return nil end
    if window.at and window.at > counted_at then counted_at = window.at end
    windows[number] = window
  end
  for _, window in ipairs(windows) do
    if window.at and window.at + window.length < now then
      redis.call('DEL', window.key)
      window.at = nil
    end
    if window.at then
      local oldest = entry(window.key, 1)
      if oldest and oldest + window.length < now then drop_what_left(window.key, window.length, now) end
      local _, before = entry(window.key, 0)
      if not before then return nil end
      window.used = window.total - before
    else
      window.total, window.used = 0, 0
    end
  end
  return windows, counted_at
end

local function server_time()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
