-- A part of what is kept for later, each with the moment it is due and, of a held or a scheduled message, its facts
-- and what a person decided. Whatever is there from the first part to the last comes at least once.
-- KEYS: later bodies, later, held, scheduled
-- ARGV: where to go on ("0" begins), how many about, what names of held and of scheduled messages begin with
-- Returns where to go on ("0" at the end) and for each: name, body, due, facts, decision; "" for what is not there.
local reply = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local found = {}
for at = 1, #reply[2], 2 do
  local name = reply[2][at]
  local due = redis.call('ZSCORE', KEYS[2], name)
  local facts, decision = false, false
  if string.sub(name, 1, #ARGV[3]) == ARGV[3] then
    local id = string.sub(name, #ARGV[3] + 1)
    facts = redis.call('HGET', KEYS[3], 'item:' .. id)
    decision = redis.call('HGET', KEYS[3], 'decision:' .. id)
  elseif string.sub(name, 1, #ARGV[4]) == ARGV[4] then
    local id = string.sub(name, #ARGV[4] + 1)
    facts = redis.call('HGET', KEYS[4], 'item:' .. id)
    decision = redis.call('HGET', KEYS[4], 'cancel:' .. id)
  end
  found[#found + 1] = {name, reply[2][at + 1], due or '', facts or '', decision or ''}
end
return {reply[1], found}
