"""Tokens and keys, seals, access rules and scanning."""
