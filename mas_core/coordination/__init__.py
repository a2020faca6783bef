"""What agents agree on, as state machines without input or output: leaders, votes, tasks."""
