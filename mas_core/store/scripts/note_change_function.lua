-- Adds an agent to the log of changes. A log that takes no entries starts anew: whoever reads it sees that it does
-- not reach back, and reads all agents.
local function note_change(log, agent, kept)
  local reply = redis.pcall('XADD', log, 'MAXLEN', '~', kept, '*', 'a', agent)
  if type(reply) == 'table' and reply.err then
    redis.call('DEL', log)
    redis.call('XADD', log, '*', 'a', agent)
  end
end
