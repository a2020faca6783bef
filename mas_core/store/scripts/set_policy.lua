-- Replaces the policy document when its revision is still the expected one.
-- KEYS: policy, policy history; ARGV: expected revision, new revision, document, mac, revisions kept
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if revision ~= ARGV[1] then return {0, revision} end
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'document', ARGV[3], 'mac', ARGV[4])
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[5], '*', 'revision', ARGV[2], 'document', ARGV[3], 'mac', ARGV[4])
return {1, ARGV[2]}
