"""Of several writers one leads and writes; when it is gone the next takes over, and nothing is written twice.

`python examples/fail_over/fail_over.py [AGENTS]` runs everything in this process; no server is needed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from mas_core import Agent, AgentMessage, Leadership, Refused

URL = "memory://fail-over"
PAGES_OF_A_TERM = 3
LEASE_S = 2.0


class Book(Agent):
    """Has pages, and says which is the next one."""

    def __init__(self) -> None:
        super().__init__("book", redis_url=URL)
        self.pages: list[str] = []

    @Agent.on("page.next")
    async def next(self, message: AgentMessage) -> dict[str, int]:  # noqa: ARG002 - it holds nothing
        """Number of the page that is to be written."""
        return {"page": len(self.pages) + 1}

    @Agent.on("page.write")
    async def write(self, message: AgentMessage) -> dict[str, int]:
        """Take a page."""
        self.pages.append(f"{message.data['page']} by {message.sender_id}")
        return {"page": len(self.pages)}


async def write_pages(writer: Agent, leading: Leadership) -> None:
    """Write what follows, with the fence of the term: gateways refuse it once another leads."""
    for _ in range(PAGES_OF_A_TERM):
        reply = await writer.request("book", "page.next")
        await writer.request("book", "page.write", reply.data, headers=leading.headers)


async def main(agents: int = 3, say: Callable[[str], object] = print) -> None:
    """Let each writer lead until it is gone, and let the first one come back with what it still had to say."""
    async with AsyncExitStack() as stack:
        book = await stack.enter_async_context(Book())
        names = [f"writer-{number}" for number in range(1, agents + 1)]
        headers: dict[str, str] = {}
        for name in names:
            writer = Agent(name, redis_url=URL)
            await writer.start()
            stack.push_async_callback(writer.stop)
            leading = writer.leadership("book", lease=LEASE_S)
            await leading.campaign()
            await write_pages(writer, leading)
            say(f"{name} leads in term {leading.term} and writes {PAGES_OF_A_TERM} pages")
            headers = headers or leading.headers
            if name != names[-1]:
                # It resigns nothing: it is gone, and the others find out when its lease ends.
                await writer.stop(drain_timeout=0)
                say(f"{name} is gone")
            else:
                last = leading
        if agents > 1:
            async with Agent(names[0], redis_url=URL) as former:
                try:
                    await former.request("book", "page.write", {"page": 4}, headers=headers)
                except Refused as error:
                    say(f"{names[0]} comes back and writes on: refused, {error.details['rule']}")
        await last.resign()
    twice = len(book.pages) - len({page.partition(" ")[0] for page in book.pages})
    say(f"the book has {len(book.pages)} pages, {twice} of them twice")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:2])))
