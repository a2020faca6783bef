-- Trims a topic's log. KEYS: log, hash of sizes; ARGV: field, oldest (ms), first message, bytes
if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then return {0, 0} end
return trim_log(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
