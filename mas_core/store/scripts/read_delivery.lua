-- A delivered frame, which of its messages are settled, which instance holds it, and which have started its messages.
-- KEYS: inbox, work; ARGV: lane name, frame
-- Returns the fields of the frame (none when it is gone), its marks, the consumer ("" when nobody has read it), and
-- the marks of starts.
local found = redis.pcall('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if found.err or #found == 0 then return {{}, '', '', ''} end
local marks = redis.call('HGET', KEYS[2], 'frame:' .. ARGV[1] .. ':' .. ARGV[2])
local pending = redis.pcall('XPENDING', KEYS[1], 'agent', ARGV[2], ARGV[2], 1)
local holder = ''
if not pending.err and #pending > 0 then holder = pending[1][2] end
local started = redis.call('HGET', KEYS[2], 'started:' .. ARGV[1] .. ':' .. ARGV[2])
return {found[1][2], marks or '', holder, started or ''}
