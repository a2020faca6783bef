-- KEYS: log of changed agents; ARGV: agent, entries to keep
note_change(KEYS[1], ARGV[1], ARGV[2])
return 1
