"""What can be checked of a machine, a project and a running system: one table for `mas doctor` and `mas check`."""
