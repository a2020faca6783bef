-- Takes back marks of starts of an instance that ends in order: its handlers were stopped, and killed nobody.
-- KEYS: work; ARGV: consumer, then (lane name, frame, position)*
for at = 2, #ARGV, 3 do
  local field = 'started:' .. ARGV[at] .. ':' .. ARGV[at + 1]
  local kept = {}
  for mark, position, consumer in string.gmatch(redis.call('HGET', KEYS[1], field) or '', '(([*%d]+)=%d+=(%S+))') do
    if position ~= ARGV[at + 2] or consumer ~= ARGV[1] then kept[#kept + 1] = mark end
  end
  if #kept > 0 then redis.call('HSET', KEYS[1], field, table.concat(kept, ' ')) else redis.call('HDEL', KEYS[1], field) end
end
return 1
