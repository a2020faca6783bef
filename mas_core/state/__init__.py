"""State of agents: a dict or a pydantic model, validated on every change."""
