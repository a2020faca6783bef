-- Takes a consumer out of a group of a topic's log; what it has in its hands goes to the one named last, from whom
-- others take it. KEYS: log; ARGV: group, consumer, who gets it
while true do
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 100, ARGV[2])
  if pending.err then return 0 end
  if #pending == 0 then break end
  for _, item in ipairs(pending) do
    local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, item[1], 'JUSTID')
    -- What was trimmed meanwhile is claimed by nobody.
    if #claimed == 0 then redis.call('XACK', KEYS[1], ARGV[1], item[1]) end
  end
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
