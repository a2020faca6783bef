"""Texts go through a line of agents: each does its part of the work and hands the rest on to the next.

`python examples/pipeline/pipeline.py [AGENTS]` runs everything in this process; no server is needed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from mas_core import Agent, AgentMessage

URL = "memory://pipeline"
TEXTS = ("  the first report, of may ", "nothing NEW in June", "july: all is well")
STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("trim", str.strip),
    ("lower", str.lower),
    ("begin", str.capitalize),
    ("end", lambda text: f"{text}."),
)
"""What the agents do in turn; further ones begin again."""


class Station(Agent):
    """Does one step and hands the text on; the last one brings it home."""

    def __init__(self, name: str, step: Callable[[str], str], following: str) -> None:
        super().__init__(name, redis_url=URL)
        self.step = step
        self.following = following

    @Agent.on("text.work")
    async def work(self, message: AgentMessage) -> None:
        """One step of the work."""
        text = self.step(str(message.data["text"]))
        passed = [*message.data["passed"], self.id]
        await self.send(self.following, "text.work", {**message.data, "text": text, "passed": passed})


class Home(Agent):
    """Sends texts out, and waits until all are back."""

    def __init__(self) -> None:
        super().__init__("home", redis_url=URL)
        self.back: asyncio.Queue[AgentMessage] = asyncio.Queue()

    @Agent.on("text.work")
    async def take(self, message: AgentMessage) -> None:
        """A text that is done."""
        self.back.put_nowait(message)


async def main(agents: int = len(STEPS), say: Callable[[str], object] = print) -> None:
    """Send the texts through a line of so many agents, and tell how they came out of it."""
    names = [f"{STEPS[place % len(STEPS)][0]}-{place + 1}" for place in range(agents)]
    async with AsyncExitStack() as stack:
        for place, name in enumerate(names):
            step = STEPS[place % len(STEPS)][1]
            following = names[place + 1] if place + 1 < agents else "home"
            await stack.enter_async_context(Station(name, step, following))
        home = await stack.enter_async_context(Home())
        for number, text in enumerate(TEXTS):
            await home.send(names[0], "text.work", {"number": number, "text": text, "passed": []})
        found = [(await home.back.get()).data for _ in TEXTS]
    for item in sorted(found, key=lambda item: int(item["number"])):
        say(f"{TEXTS[int(item['number'])]!r:<30} -> {item['text']!r}")
    say(f"each went through {', '.join(found[0]['passed'])}")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:2])))
