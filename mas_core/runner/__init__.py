"""The runner: keeps the agents of a project running, each instance in a process of its own."""
