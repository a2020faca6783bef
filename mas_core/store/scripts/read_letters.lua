-- Reads a page of dead letters without their bodies, newest first.
-- KEYS: dead, dropped; ARGV: newest and oldest entry, how many
-- Returns for each: entry, message id, facts, until when it is dropped ("" when it is not).
local found = {}
for _, item in ipairs(redis.call('XREVRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', ARGV[3])) do
  local fields = {}
  for at = 1, #item[2], 2 do fields[item[2][at]] = item[2][at + 1] end
  local dropped = redis.call('ZSCORE', KEYS[2], item[1])
  found[#found + 1] = {item[1], fields['message_id'] or '', fields['facts'] or '', dropped or ''}
end
return found
