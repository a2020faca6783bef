-- Says where the audit of a partition goes on, if it has not begun, and from when on frames count.
-- KEYS: meta, audit; ARGV: layout, lowest epoch, sequence, head, earliest time of frames
-- Returns layout and the one found, kept when the audit has begun, else ok.
local found = redis.call('HMGET', KEYS[1], 'layout', 'epoch', 'audit_seq')
if found[1] and found[1] ~= ARGV[1] then return {'layout', found[1]} end
redis.call('HSET', KEYS[1], 'layout', ARGV[1], 'restored_at', ARGV[5])
if (tonumber(found[3] or '0') or 0) > 0 or redis.call('EXISTS', KEYS[2]) == 1 then return {'kept', found[3] or '0'} end
if (tonumber(found[2] or '0') or 0) < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], 'epoch', ARGV[2]) end
if tonumber(ARGV[3]) > 0 then redis.call('HSET', KEYS[1], 'audit_seq', ARGV[3], 'audit_head', ARGV[4]) end
return {'ok', ARGV[3]}
