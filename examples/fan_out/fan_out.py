"""One agent asks many at the same time and puts their answers together.

`python examples/fan_out/fan_out.py [AGENTS]` runs everything in this process; no server is needed.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from mas_core import Agent, AgentMessage, MasError

URL = "memory://fan-out"
TO = 10_000


class Sieve(Agent):
    """Counts primes; the second of them always fails, as one of many sometimes does."""

    capabilities = ("primes",)

    @Agent.on("primes.count")
    async def count(self, message: AgentMessage) -> dict[str, int]:
        """How many primes are in a part of the numbers."""
        if self.id == "sieve-2":
            raise RuntimeError("it does that")
        start, end = int(message.data["start"]), int(message.data["end"])
        found = [n for n in range(max(2, start), end) if all(n % d for d in range(2, int(n**0.5) + 1))]
        return {"primes": len(found)}


async def main(agents: int = 5, say: Callable[[str], object] = print) -> None:
    """Hand out a part of the numbers to each agent that can do it, and add up what they say."""
    async with AsyncExitStack() as stack:
        for number in range(1, agents + 1):
            await stack.enter_async_context(Sieve(f"sieve-{number}", redis_url=URL))
        chair = await stack.enter_async_context(Agent("chair", redis_url=URL))
        found = sorted(str(item["id"]) for item in await chair.discover(["primes"]))
        say(f"{len(found)} agents count the primes below {TO:,}")
        edges = [TO * place // len(found) for place in range(len(found) + 1)]
        parts = [{"start": start, "end": end} for start, end in itertools.pairwise(edges)]
        answers = await asyncio.gather(
            *(chair.request(name, "primes.count", part) for name, part in zip(found, parts, strict=True)),
            return_exceptions=True,
        )
        total = 0
        for name, part, answer in zip(found, parts, answers, strict=True):
            reply = answer
            if isinstance(answer, MasError):
                say(f"{name} failed ({answer.code}): {found[0]} counts its part too")
                reply = await chair.request(found[0], "primes.count", part)
            elif isinstance(answer, BaseException):
                raise answer
            total += int(reply.data["primes"])
            say(f"{part['start']:>6} to {part['end']:>6}  {reply.data['primes']:>5} primes")
    say(f"{total:,} together")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:2])))
