"""Events of a system: emit them, look at those that were kept, and play them again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mas_core.base.clock import rfc3339
from mas_core.errors import AgentNotFound, MasError, Refused, UsageError
from mas_core.events.query import EventQuery, StoredEvent
from mas_core.model.cloud_events import to_cloudevent
from mas_core.model.decision import Receipt
from mas_core.model.event import Event
from mas_core.model.event_messages import RECORDER, emitted
from mas_core.ops import messages
from mas_core.ops.system import OPERATOR, System
from mas_core.settings.project import Project
from mas_core.settings.project_config import load_config

if TYPE_CHECKING:
    from mas_core.agent.client import Client
    from mas_core.events.store import EventStore
    from mas_core.model.rehearsal import Rehearsal

__all__ = [
    "RECORDER",
    "EventQuery",
    "Replayed",
    "StoredEvent",
    "Tail",
    "emit",
    "event_line",
    "event_store",
    "kept_events",
    "rehearse",
    "replay",
    "replay_to",
]

_STORE_NAME = "events.sqlite"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of an event that was sent once more."""

    stored: StoredEvent
    receipt: Receipt | None = None
    error: MasError | None = None


class Tail:
    """Reads events as they come, and goes on where it was each time it is asked.

    Args:
        store: An open store.
        query: Which.
        after: The last number that is not wanted any more.
        buffer: A reader that is further behind than this skips the oldest; none is skipped without it.
        skipped: Told how many were skipped.
    """

    def __init__(
        self,
        store: EventStore,
        query: EventQuery,
        after: int,
        buffer: int | None = None,
        skipped: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._store = store
        self._query = query
        self._after = after
        self._buffer = buffer
        self._skipped = skipped

    async def read(self) -> AsyncIterator[StoredEvent | None]:
        """Events that are wanted; None now and then while there are none.

        Raises:
            EventStoreUnavailable: The database failed.
        """
        query = replace(self._query, after=self._after)
        events = self._store.follow(query, most_behind=self._buffer, skipped=self._skipped)
        async with aclosing(events) as found:
            async for stored in found:
                if stored is not None:
                    self._after = stored.seq
                yield stored


def store_place(project: Project) -> Path | str:
    """Where the events of a project are kept: a file, or the URL of a database.

    Raises:
        SpecInvalid: mas.yaml cannot be used.
        SecretUnavailable: A secret that the URL refers to cannot be had.
    """
    return load_config(project).filled("events.url") or project.events_dir / _STORE_NAME


@asynccontextmanager
async def event_store(project: Project) -> AsyncIterator[EventStore]:
    """Where the events of a project are kept, made if missing.

    Raises:
        EventStoreUnavailable: The database does not answer.
        ConfigurationError: mas.yaml cannot be used, or the driver of the database is not installed.
    """
    from mas_core.events.store import EventStore  # noqa: PLC0415 - slow, and few commands read events

    async with EventStore(store_place(project)) as store:
        yield store


@asynccontextmanager
async def kept_events(project: Project) -> AsyncIterator[EventStore | None]:
    """The events of a project; None where none were ever kept. Errors as for `event_store`."""
    place = store_place(project)
    if isinstance(place, Path) and not place.exists():
        yield None
        return
    async with event_store(project) as store:
        yield store


async def emit(
    system: System,
    event_type: str,
    data: object = None,
    *,
    topic: str = "",
    as_agent: str = OPERATOR,
    timeout: float = 30.0,
) -> Receipt:
    """Tell of an event, as an agent whose token is at hand, through the gateway like any message.

    Raises:
        AgentNotFound: No recorder was ever started here.
        Refused: The gateway said no; the subclass says which stage.
        EventInvalid: The topic cannot be one.
        GatewayDown: No gateway runs.
    """
    try:
        return await messages.send(
            system, RECORDER, event_type, emitted(data, topic=topic), as_agent=as_agent, timeout=timeout
        )
    except AgentNotFound:
        raise AgentNotFound(
            "nobody keeps events in this system",
            hint=("mas event record", "events: {record: true}    in mas.yaml"),
        ) from None


async def rehearse(
    system: System, event_type: str, data: object = None, *, topic: str = "", as_agent: str = OPERATOR
) -> Rehearsal:
    """What the gateway would say to an event, stage by stage; errors as for `emit`."""
    return await messages.rehearse(
        system, RECORDER, event_type, emitted(data, topic=topic), as_agent=as_agent
    )


async def replay_to(
    system: System,
    events: AsyncIterator[StoredEvent],
    target: str,
    *,
    as_agent: str = OPERATOR,
) -> AsyncIterator[Replayed]:
    """Send events to an agent, one after the other, as messages of their types with CloudEvents as payloads.

    A second replay to the same agent is a second delivery: ids of messages are new, those of the events are not.

    Raises:
        GatewayDown: No gateway runs.
    """
    if target == RECORDER:
        raise UsageError("what was kept would be kept once more", hint="--to another agent")
    async with messages.connected(system, as_agent) as client:
        async for stored in events:
            yield await _replayed(client, stored, target)


async def _replayed(client: Client, stored: StoredEvent, target: str) -> Replayed:
    try:
        receipt = await client.send(target, stored.event.type, to_cloudevent(stored.event))
    except (Refused, UsageError) as error:
        return Replayed(stored, error=error)
    return Replayed(stored, receipt)


def replay(store: EventStore, query: EventQuery, *, speed: float = 0.0) -> AsyncIterator[StoredEvent]:
    """Events with the pauses that there were between them; parameters and errors as `mas_core.events.replay`."""
    from mas_core.events import replay as module  # noqa: PLC0415 - slow, and few commands read events

    return module.replay(store, query, speed=speed)


def event_line(stored: StoredEvent) -> dict[str, object]:
    """A kept event as commands show it."""
    event: Event = stored.event
    return {
        "seq": stored.seq,
        "time": rfc3339(event.time),
        "type": event.type,
        "source": event.source,
        "topic": event.topic or None,
        "data": to_cloudevent(event).get("data_base64") if isinstance(event.data, bytes) else event.data,
        "id": event.id,
        "extensions": dict(event.extensions),
    }
