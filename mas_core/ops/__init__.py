"""What an operator can do: one file for each noun, used by the command and by the dashboard."""
