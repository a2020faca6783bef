"""The recorder: an agent that keeps the events which others emit, and what happens to the system itself.

`python -m mas_core.ops.event_recorder` runs it for the project that the environment leads to. With
`--until-input-ends` it also ends when its standard input does: whoever started it is gone then.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from types import FunctionType
from typing import Any, Final

from mas_core.agent.agent import Agent
from mas_core.base.clock import now_ms
from mas_core.base.logs import get_logger
from mas_core.base.stop_signals import run_service
from mas_core.errors import Forbidden, LockHeld, MasError, ProjectNotFound
from mas_core.events.consumers import trim
from mas_core.events.store import EventStore
from mas_core.model.event_messages import RECORDER, event_of
from mas_core.model.message import AgentMessage
from mas_core.ops.agent_runs import OnEvent
from mas_core.ops.agents import ensure_registered
from mas_core.ops.event_sources import SystemEvents
from mas_core.ops.events import store_place
from mas_core.ops.run_events import RunEvent
from mas_core.ops.system import System
from mas_core.resilience.retry_policy import RetryPolicy
from mas_core.settings.file_locks import file_lock
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config
from mas_core.settings.target import Target, resolve_target

log = get_logger("mas_core.events")

_AT_ONCE: Final = 512
_TRIM_S: Final = 3600.0
_LOCK: Final = "recorder.lock"
_LOCK_S: Final = 1.0
"""How often a recorder that waits looks whether the other one has ended."""
_DAY_MS: Final = 86_400_000
_RETRIES: Final = RetryPolicy(strategy="exponential", attempts=100, base=1, max_delay=60)
"""A database that is away for an hour costs no event."""


class EventRecorder(Agent[Any]):
    """Keeps each message that it gets as an event, and settles it once that is on the disk.

    Args:
        store: An open store.
        agent_id: Under which it takes messages.
        options: As for `Agent`.
    """

    def __init__(self, store: EventStore, agent_id: str = RECORDER, **options: Any) -> None:
        super().__init__(agent_id, max_in_flight=_AT_ONCE, retry=_RETRIES, **options)
        self._events = store

    async def on_message(self, message: AgentMessage) -> object:
        """Keep it; who asked gets its number."""
        return {"seq": await self._events.append(event_of(message))}


def recorder_of(topics: Sequence[str]) -> type[EventRecorder]:
    """A recorder that keeps what is published to topics, too; it has a place of its own in each of their logs.

    Raises:
        InvalidIdentifier: One of these is no pattern.
    """

    async def keep(self: EventRecorder, message: AgentMessage) -> None:
        await self.on_message(message)

    handlers: dict[str, object] = {}
    for number, pattern in enumerate(topics):
        # Each pattern marks a function of its own.
        handler = FunctionType(keep.__code__, keep.__globals__, f"topic_{number}")
        handlers[handler.__name__] = Agent.subscribe(
            pattern, durable=True, start="beginning", retry=_RETRIES
        )(handler)
    return type("EventRecorder", (EventRecorder,), handlers)


async def record_events(
    target: Target,
    stop: asyncio.Event,
    on_event: OnEvent = lambda _event: None,
    *,
    is_waiting: bool = False,
) -> None:
    """Record the events of a system until `stop` is set.

    Args:
        target: The system.
        stop: Ends it.
        on_event: Told when it has begun and ended.
        is_waiting: Wait while another recorder of the project runs.

    Raises:
        ProjectNotFound: The system has no project, which says where events are kept.
        LockHeld: Another recorder of the project runs.
        GatewayDown: No gateway runs.
        SecretUnavailable: The gateway's keys are not at hand, and the recorder is not registered.
        EventStoreUnavailable: The database does not answer.
    """
    project = target.project
    if project is None:
        raise ProjectNotFound("events are kept where a project says", hint="mas init DIR")
    with ExitStack() as alone:
        while not stop.is_set():
            try:
                alone.enter_context(file_lock(project.events_dir / _LOCK, lambda _lock: _taken()))
            except LockHeld:
                if not is_waiting:
                    raise
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LOCK_S)
                continue
            await _record(target, project, stop, on_event)
            break
    on_event(RunEvent("stopped", "the recorder has ended"))


def _taken() -> LockHeld:
    return LockHeld("another recorder of this project runs", hint=("mas status", "mas event list"))


async def _record(target: Target, project: Project, stop: asyncio.Event, on_event: OnEvent) -> None:
    async with System(target) as system:
        await system.require_gateway()
        await ensure_registered(system, RECORDER, source="project")
        async with (
            EventStore(store_place(project)) as store,
            started_recorder(
                store,
                load_config(project).config.events.topics,
                on_event,
                redis_url=target.url,
                namespace=target.namespace,
                partitions=target.partitions,
                token=system.token_of(RECORDER),
            ) as recorder,
        ):
            beside = [
                asyncio.create_task(SystemEvents(system, store).run()),
                asyncio.create_task(_trim(store, project)),
            ]
            try:
                on_event(RunEvent("ready", "events are kept", agent_id=RECORDER))
                await _until(stop, recorder.evicted, *beside)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)


@asynccontextmanager
async def started_recorder(
    store: EventStore, topics: Sequence[str], on_event: OnEvent, **options: Any
) -> AsyncIterator[EventRecorder]:
    """A recorder that runs within the block; where it may not read a topic, it keeps the rest and tells so."""
    recorder = recorder_of(topics)(store, **options)
    try:
        await recorder.start()
    except Forbidden as error:
        log.error("recorder.topics_refused", reason=error.message, hint=error.hint)
        on_event(RunEvent("problem", f"no topic is kept: {error.message}", error.hint))
        recorder = EventRecorder(store, **options)
        await recorder.start()
    try:
        yield recorder
    finally:
        await recorder.stop()


async def _trim(store: EventStore, project: Project) -> None:
    while True:
        try:
            keep_days = load_config(project).config.events.keep_days
            if keep_days is not None:
                await trim(store, now_ms() - int(keep_days * _DAY_MS))
        except MasError as error:
            log.warning("events.untrimmed", code=error.code, reason=error.message)
        await asyncio.sleep(_TRIM_S)


async def _until(stop: asyncio.Event, evicted: asyncio.Event, *beside: asyncio.Task[None]) -> None:
    ends = [asyncio.create_task(event.wait()) for event in (stop, evicted)]
    try:
        done, _ = await asyncio.wait([*ends, *beside], return_when=asyncio.FIRST_COMPLETED)
        for task in done.intersection(beside):
            task.result()
    finally:
        for waiting in ends:
            waiting.cancel()


def main() -> int:
    """Run the recorder until it is told to stop; returns the exit code."""
    os.umask(0o077)
    return run_service(_serve, "recorder.failed")


async def _serve(stop: asyncio.Event) -> None:
    await record_events(resolve_target(), stop, is_waiting=True)


if __name__ == "__main__":
    sys.exit(main())
