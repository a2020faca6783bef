"""Everything that reaches the terminal: the one writer to each stream, and how values look."""
