-- Sets the keys of one agent aside and leaves marks in their places, on which every command of the agent fails:
-- so nothing is read or written there any more, from one moment on.
-- KEYS: each key, then where it is set aside; ARGV: mark, for how many ms it stays, then for each key 1 to leave a mark
for at = 1, #KEYS, 2 do
  local kind = redis.call('TYPE', KEYS[at]).ok
  if kind ~= 'none' and kind ~= 'string' then redis.call('RENAME', KEYS[at], KEYS[at + 1]) end
  if ARGV[2 + (at + 1) / 2] == '1' then redis.call('SET', KEYS[at], ARGV[1], 'PX', ARGV[2]) end
end
return 1
