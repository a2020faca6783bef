"""What runs in the agents' processes: they send, handle, count, and keep the outside ledger.

A ledger is a file of lines that are written with one system call each, so that they outlive `kill -9`:

    a ID TARGET NUMBER SENT ACKNOWLEDGED   a receipt came that says the message is accepted
    u ID TARGET NUMBER SENT ENDED CODE     nobody said what became of it
    r ID TARGET NUMBER SENT ENDED CODE     it was refused for good
    e ID TARGET NUMBER SENT ENDED CODE     an attempt failed in a way that no sender should see
    h ID ATTEMPT PID NUMBER TIME           a handler took it
    s ID PID NUMBER TIME                   a handler that keeps a state was done with it
    p ID ATTEMPT PID HOW TIME              a handler took a poisoned message

Times are nanoseconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from typing import Any

from mas_core import Agent, AgentMessage, MasError
from mas_core.base.event_loop import run
from mas_core.base.ids import new_message_id
from mas_core.base.logs import log_to_stderr
from mas_core.errors import InternalError

TYPE = "load.item"
POISON = "load.poison"
"""Its handler raises, dies or hangs, as it says."""
POISON_TIMEOUT_S = 1.0
READY = ".ready"
"""Behind the name of a ledger: the file with a line for each process that has started."""
ALWAYS = 99
"""Of `fail`: the handler fails every time, so the message ends as a dead letter."""
SIZES = (60, 60, 200, 200, 200, 1_000, 4_000, 16_000)


class Ledger:
    """Lines in a file that is never rewritten."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        """Add a line."""
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


class Receiver(Agent[Any]):
    """Notes what its handler sees; fails as often as a message asks for."""

    ledger: Ledger

    @Agent.on(TYPE)
    async def take(self, message: AgentMessage) -> None:
        """Note it before anything else."""
        self.ledger.write(
            "h", message.message_id, message.attempt, os.getpid(), message.data["n"], time.monotonic_ns()
        )
        if message.attempt <= message.data.get("fail", 0):
            raise ValueError("as asked for")

    @Agent.on(POISON, timeout=POISON_TIMEOUT_S)
    async def swallow(self, message: AgentMessage) -> None:
        """Note it, and come to harm as it says."""
        how = message.data["how"]
        self.ledger.write("p", message.message_id, message.attempt, os.getpid(), how, time.monotonic_ns())
        if how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "hangs":
            await asyncio.Event().wait()
        elif how == "raises":
            raise ValueError("as asked for")


class Counter(Agent[Any]):
    """Keeps a state that every message changes; some messages are passed on as well."""

    ledger: Ledger

    @Agent.on(TYPE)
    async def count(self, message: AgentMessage) -> None:
        """Add the message to the state; the settle script commits both or none."""
        number = message.data["n"]
        state = self.state
        await self.update_state({"count": state.get("count", 0) + 1, "sum": state.get("sum", 0) + number})
        self.ledger.write("h", message.message_id, message.attempt, os.getpid(), number, time.monotonic_ns())
        if relay := message.data.get("relay"):
            await self.send(relay, TYPE, {"n": number, "from": message.message_id})
        self.ledger.write("s", message.message_id, os.getpid(), number, time.monotonic_ns())


async def _agents(
    arguments: dict[str, Any], kind: type[Agent[Any]], stack: contextlib.AsyncExitStack
) -> list[Agent[Any]]:
    agents = []
    for name, token in arguments["agents"].items():
        options = {"slot": f"slot-{name}"} if arguments.get("slots") else {}
        agent = kind(
            name,
            redis_url=arguments["url"],
            namespace=arguments["namespace"],
            partitions=arguments["partitions"],
            token=token,
            **options,
        )
        agents.append(agent)
    ledger = Ledger(arguments["ledger"])
    for agent in agents:
        if isinstance(agent, Receiver | Counter):
            agent.ledger = ledger
    await asyncio.gather(*(stack.enter_async_context(agent) for agent in agents))
    return agents


def _say_ready(arguments: dict[str, Any]) -> None:
    Ledger(arguments["ledger"]).write("ready", os.getpid())
    Ledger(arguments["ledger"] + READY).write(os.getpid())


def _until_told() -> asyncio.Event:
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    return end


def receive(arguments: dict[str, Any]) -> int:
    """A process with receivers, until SIGTERM."""
    return _run(_receive(arguments, Receiver))


def count(arguments: dict[str, Any]) -> int:
    """A process with counters, until SIGTERM."""
    return _run(_receive(arguments, Counter))


async def _receive(arguments: dict[str, Any], kind: type[Agent[Any]]) -> int:
    end = _until_told()
    async with contextlib.AsyncExitStack() as stack:
        await _agents(arguments, kind, stack)
        _say_ready(arguments)
        await end.wait()
    return 0


def send(arguments: dict[str, Any]) -> int:
    """A process that sends until SIGTERM, and then waits for what is on its way."""
    return _run(_send(arguments))


async def _send(arguments: dict[str, Any]) -> int:
    end = _until_told()
    ledger = Ledger(arguments["ledger"])
    chance = random.Random(arguments["seed"])
    numbers = iter(range(arguments["first"], arguments["first"] + 10**9))
    pause = len(arguments["agents"]) * arguments["workers"] / arguments["rate"]
    counters = set(arguments["counters"])

    async def work(agent: Agent[Any]) -> None:
        await asyncio.sleep(chance.uniform(0, pause))
        while not end.is_set():
            target = chance.choice(arguments["targets"])
            number = next(numbers)
            data: dict[str, object] = {"n": number, "text": "x" * chance.choice(SIZES)}
            if target in counters:
                if arguments["relays"] and chance.random() < 0.1:
                    data["relay"] = chance.choice(arguments["relays"])
            elif chance.random() < arguments["failing"]:
                data["fail"] = chance.choice((1, 1, 1, 1, 1, 1, 2, ALWAYS))
            await _deliver(agent, target, data, number, ledger, has_own_id=chance.random() < 0.5)
            spare = chance.uniform(0.5, 1.5) * pause
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(end.wait(), spare)

    async with contextlib.AsyncExitStack() as stack:
        agents = await _agents(arguments, Agent, stack)
        _say_ready(arguments)
        await asyncio.gather(*(work(agent) for agent in agents for _ in range(arguments["workers"])))
    return 0


async def _deliver(
    agent: Agent[Any], target: str, data: dict[str, object], number: int, ledger: Ledger, *, has_own_id: bool
) -> None:
    """Send one message; with an id of its own until it is known what became of it."""
    message_id = new_message_id() if has_own_id else ""
    while True:
        sent = time.monotonic_ns()
        try:
            receipt = await agent.send(target, TYPE, data, message_id=message_id)
        except MasError as error:
            named = error.details.get("message_id") or message_id or "-"
            facts = (named, target, number, sent, time.monotonic_ns(), error.code)
            if isinstance(error, InternalError) or not error.retryable:
                ledger.write("e" if isinstance(error, InternalError) else "r", *facts)
                return
            if not has_own_id:
                ledger.write("u", *facts)
                return
            await asyncio.sleep(0.05)
        else:
            ledger.write("a", receipt.message_id, target, number, sent, time.monotonic_ns())
            return


def _run(main: Any) -> int:
    log_to_stderr()
    return int(run(main))
