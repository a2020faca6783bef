"""Writing events: one transaction for many, numbers without gaps, and none twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from mas_core.errors import EventInvalid, InvalidPayload
from mas_core.events import tables
from mas_core.events.database import Database
from mas_core.model.cloud_events import encode_cloudevent
from mas_core.model.event import Event
from mas_core.model.json_text import parse_json

_ASKED_AT_ONCE: Final = 500
"""Parameters of one statement; some databases take no more than 999."""


class Row(NamedTuple):
    """An event as it is written."""

    time: int
    type: str
    source: str
    topic: str
    id: str
    body: str


def row_of(event: Event) -> Row:
    """The columns of an event.

    Raises:
        EventInvalid: JSON cannot say it.
    """
    text = encode_cloudevent(event)
    try:
        parse_json(text)
    except InvalidPayload as error:
        # What could not be read again is not written.
        raise EventInvalid(f"the event {event.id} cannot be kept: {error.message}") from None
    return Row(event.time, str(event.type), event.source, event.topic, event.id, text.decode())


def write(rows: Sequence[Row], database: Database) -> list[int]:
    """Write events that are not there yet; the numbers of all, in their order.

    Raises:
        EventStoreUnavailable: The database failed, and nothing was written.
    """
    with database.transaction() as connection:
        connection.execute(tables.take_turn())
        head = connection.scalar(tables.head()) or 0
        numbers: dict[tuple[str, str], int] = {}
        ids = sorted({row.id for row in rows})
        for begin in range(0, len(ids), _ASKED_AT_ONCE):
            for source, event_id, seq in connection.execute(
                tables.known(ids[begin : begin + _ASKED_AT_ONCE])
            ):
                numbers[source, event_id] = seq
        new: list[tables.Row] = []
        for row in rows:
            if (row.source, row.id) not in numbers:
                head += 1
                numbers[row.source, row.id] = head
                new.append({"seq": head, **row._asdict()})
        if new:
            connection.execute(tables.add_events(), new)
            connection.execute(tables.move_head(head))
    return [numbers[row.source, row.id] for row in rows]
