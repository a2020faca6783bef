-- Makes an order about a frame due, if the frame is still in the hands of whoever took it for that.
-- KEYS: inbox, later, later bodies
-- ARGV: entry, consumer, name for later, sealed order, part of a millisecond that keeps the sequence
-- Returns ok or gone.
local pending = redis.pcall('XPENDING', KEYS[1], 'agent', ARGV[1], ARGV[1], 1)
if pending.err or #pending == 0 or pending[1][2] ~= ARGV[2] then return 'gone' end
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
redis.call('ZADD', KEYS[2], string.format('%.3f', now_ms + tonumber(ARGV[5])), ARGV[3])
return 'ok'
