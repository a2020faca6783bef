-- Reserves places of rate limits, for all messages of a batch at once. Needs limit_windows.lua.
-- KEYS: the windows of each subject. ARGV: for how many ms from now the places may be used before they are taken
-- (they are counted under the end of that time), then for each subject: wanted, number of windows, and for each window its
-- length in ms, the most that it may hold, and the grain in ms within which places share an entry.
-- Returns for each subject: places granted, the time they are counted under, ms until one more fits (-1: never),
-- and the number of the window that is full (0: none, -1: the counts cannot be read).
local function take(window, now, server_now, places)
  window.total = window.total + places
  window.used = window.used + places
  local text = now .. ' ' .. window.total
  if not window.at then
    redis.call('RPUSH', window.key, (now - 1) .. ' 0', text)
  elseif math.floor(window.at / window.grain) == math.floor(now / window.grain) then
    redis.call('LSET', window.key, -1, text)
  else
    redis.call('RPUSH', window.key, text)
  end
  window.at = now
  redis.call('PEXPIRE', window.key, window.length + 1000 + now - server_now)
end

-- Time until one more place fits: until enough of the oldest entries have left.
local function wait_for_room(window, server_now)
  if window.used < window.most then return 0 end
  if window.most == 0 then return -1 end
  local enough = window.total + 1 - window.most
  local low, high = 1, redis.call('LLEN', window.key) - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local _, total = entry(window.key, middle)
    if (total or enough) >= enough then high = middle else low = middle + 1 end
  end
  return (entry(window.key, low) or server_now) + window.length + 1 - server_now
end

local server_now = server_time()
local reply = {}
local key, argument = 1, 2
while argument <= #ARGV do
  local wanted, count = tonumber(ARGV[argument]), tonumber(ARGV[argument + 1])
  local windows, now = open_windows(key, argument + 2, count, server_now)
  local granted, wait, full = wanted, 0, 0
  if windows then
    for _, window in ipairs(windows) do
      granted = math.max(0, math.min(granted, window.most - window.used))
    end
    if granted > 0 then
      now = math.max(now, server_now + tonumber(ARGV[1]))
      for _, window in ipairs(windows) do take(window, now, server_now, granted) end
    end
    if granted < wanted then
      for number, window in ipairs(windows) do
        local its_wait = wait_for_room(window, server_now)
        if its_wait ~= 0 and wait ~= -1 and (its_wait == -1 or its_wait > wait) then
          wait, full = its_wait, number
        end
      end
    end
  else
    granted, wait, full, now = 0, -1, -1, server_now
  end
  reply[#reply + 1] = granted
  reply[#reply + 1] = now
  reply[#reply + 1] = wait
  reply[#reply + 1] = full
  key = key + count
  argument = argument + 2 + 3 * count
end
return reply
