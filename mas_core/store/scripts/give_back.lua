-- Takes places back out of the counts that were reserved and not used. Needs limit_windows.lua.
-- KEYS: the windows of one subject; ARGV: the time that the places are counted under, how many.
local at, places = tonumber(ARGV[1]), tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
  -- Entries from the one of that time on hold the places in their totals. Where that entry has left the window,
  -- or the counts were reset since, the head is as young, and there is nothing to take back.
  local head = entry(key, 0)
  local changed = {}
  local index = -1
  local found, total = entry(key, index)
  while head and head < at and found and found >= at do
    changed[#changed + 1] = {index, found, total}
    index = index - 1
    found, total = entry(key, index)
  end
  if #changed > 0 and total then
    local most = math.min(places, changed[#changed][3] - total)
    for _, item in ipairs(changed) do
      redis.call('LSET', key, item[1], item[2] .. ' ' .. (item[3] - most))
    end
  end
end
return 0
