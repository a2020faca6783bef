"""The dashboard: the same operations as the commands, on one screen that keeps itself up to date."""
