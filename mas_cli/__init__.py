"""The `mas` command: one file per noun over `mas_core.ops`."""
