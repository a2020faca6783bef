"""What people use today, doing the same work without any policy.

Each peer has a module with a producer and a worker, and an environment of its own in `.venv-peers/<peer>`,
since their requirements contradict each other. The modules run there, so they import nothing of `mas_core`.
"""
