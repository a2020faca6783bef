"""Backups: registry, policy, states, dead letters, messages for later and the audit's position in one file."""
