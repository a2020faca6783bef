-- How much of rate limits is used. Needs limit_windows.lua; keys and arguments are those of reserve.lua.
-- Returns for each window: places used (-1: cannot be read), ms until it is empty.
local server_now = server_time()
local reply = {}
local key, argument = 1, 1
while argument <= #ARGV do
  local count = tonumber(ARGV[argument + 1])
  local windows = open_windows(key, argument + 2, count, server_now)
  for number = 1, count do
    local window = windows and windows[number]
    reply[#reply + 1] = window and window.used or -1
    reply[#reply + 1] = window and window.at and window.at + window.length + 1 - server_now or 0
  end
  key = key + count
  argument = argument + 2 + 3 * count
end
return reply
