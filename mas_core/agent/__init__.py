"""The SDK: agents that send, receive, answer and keep state."""

from mas_core.agent.agent import Agent

__all__ = ["Agent"]
