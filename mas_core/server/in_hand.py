"""A delivery in the hands of an agent elsewhere: what that says of it, in its order."""

from __future__ import annotations

import asyncio
from typing import Final

from mas_core.errors import RateLimited
from mas_core.protocol.agents_pb2 import FromAgent

MAX_SAID: Final = 4_096
"""Things that are said in the course of one delivery."""


class InHand:
    """What is said in the course of one delivery; it can be gone through again.

    Args:
        number: Of the delivery in its stream.
        about: What was delivered.
    """

    def __init__(self, number: int, about: object) -> None:
        self.number = number
        self.about = about
        self.is_over = False
        """Whether it failed: the same message in our hands again is another delivery."""
        self._said: list[FromAgent] = []
        self.size = 0
        """Bytes of what was said."""
        self._at = 0
        self._answered = 0
        self._has_news = asyncio.Event()

    def say(self, said: FromAgent) -> int:
        """Take note of something that the agent says of it; its size in bytes.

        Raises:
            RateLimited: It says too much.
        """
        if len(self._said) >= MAX_SAID:
            raise RateLimited(f"in the course of one delivery at most {MAX_SAID} things are said and done")
        self._said.append(said)
        self._has_news.set()
        size = said.ByteSize()
        self.size += size
        return size

    def start_over(self) -> None:
        """Go through what was said from the first on."""
        self._at = 0

    async def next(self) -> FromAgent:
        """What was said next, once it is."""
        while self._at >= len(self._said):
            self._has_news.clear()
            await self._has_news.wait()
        self._at += 1
        return self._said[self._at - 1]

    def is_unanswered(self) -> bool:
        """Whether the agent waits for the answer to what was gone through last, which it then gets."""
        is_first = self._at > self._answered
        self._answered = max(self._answered, self._at)
        return is_first and self._said[self._at - 1].id > 0
