"""An agent that answers in place of another, for as long as a command runs: to try what talks to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mas_core.agent.agent import Agent
from mas_core.errors import AgentFailed, Conflict, MasError, UsageError
from mas_core.model.message import AgentMessage
from mas_core.ops.system import System
from mas_core.security.key_files import key_files
from mas_core.security.type_glob import check_glob, compile_glob

Answer = Callable[[AgentMessage], Awaitable[dict[str, object]]]


@dataclass(frozen=True, slots=True)
class Answered:
    """A message that the stand-in took, and what it said."""

    message: AgentMessage
    reply: dict[str, object] | None
    """None where it failed."""
    error: MasError | None
    seconds: float


class _StandIn(Agent[Any]):
    def __init__(self, *arguments: Any, types: str, answer: Answer, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._matches = compile_glob(types)
        self._answer = answer
        self.answered: asyncio.Queue[Answered] = asyncio.Queue()

    async def on_message(self, message: AgentMessage) -> object:
        """Answer what is of the wanted type."""
        if not self._matches(message.message_type):
            raise UsageError(f"{self.id} has no handler for {message.message_type}")
        begun = time.perf_counter()
        reply, problem = None, None
        try:
            reply = await self._answer(message)
        except MasError as error:
            problem = error
        self.answered.put_nowait(Answered(message, reply, problem, time.perf_counter() - begun))
        if problem is not None:
            raise problem
        return reply


@asynccontextmanager
async def standing_in(
    system: System, agent_id: str, types: str, answer: Answer
) -> AsyncIterator[asyncio.Queue[Answered]]:
    """Answer for an agent until the block ends; gives what was answered, in that order.

    Args:
        system: The system.
        agent_id: For whom; its token has to be at hand.
        types: A glob of the message types that are answered; others fail as those without a handler do.
        answer: Makes the reply.

    Raises:
        AgentNotFound: It is not registered.
        Conflict: It runs, and would get a part of the messages.
        SecretUnavailable: Its token is not at hand.
        UsageError: The glob cannot be one.
    """
    check_glob(types)
    entry = await system.registry.get(agent_id)
    if entry.running(await system.store.connection.time_ms()):
        raise Conflict(
            f"{agent_id} runs, and would share its messages with the stand-in",
            hint=f"mas agent describe {agent_id}",
        )
    await system.require_gateway()
    target = system.target
    agent = _StandIn(
        agent_id,
        types=types,
        answer=answer,
        redis_url=target.url,
        token=system.token_of(agent_id),
        namespace=target.namespace,
        partitions=system.store.partitions,
        private_keys=key_files(target.tokens_dir, agent_id),
    )
    async with agent:
        yield agent.answered


async def echo(message: AgentMessage) -> dict[str, object]:
    """What was asked."""
    return message.data


def says(data: dict[str, object]) -> Answer:
    """Always the same."""

    async def answer(_message: AgentMessage) -> dict[str, object]:
        return data

    return answer


def asks_program(words: Sequence[str], timeout: float) -> Answer:
    """What a program writes that gets the payload as JSON: a JSON object, or any text as `output`.

    Args:
        words: The program and its arguments.
        timeout: Seconds that it may take.
    """

    async def answer(message: AgentMessage) -> dict[str, object]:
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise AgentFailed(f"{words[0]} cannot be run: {error.strerror}") from None
        try:
            async with asyncio.timeout(timeout):
                out, _ = await process.communicate(json.dumps(message.data).encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AgentFailed(f"{words[0]} did not end within {timeout:g} s") from None
        if process.returncode:
            raise AgentFailed(f"{words[0]} ended with {process.returncode}")
        text = out.decode(errors="replace").rstrip("\n")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        return value if isinstance(value, dict) else {"output": value}

    return answer
