"""Help pages, help topics and the machine-readable description of every command."""
