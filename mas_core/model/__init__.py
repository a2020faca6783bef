"""Plain data that travels between the floors; nothing here does I/O."""
