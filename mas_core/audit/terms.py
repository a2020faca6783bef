"""What the index knows of records: the terms that a filter can ask for, and fingerprints of ids.

A term is one letter and a value. Reading it out of records is what keeping the index costs, so only the fields
that are needed are decoded, a block at a time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import msgspec

SENDER: Final = "s"
TARGET: Final = "t"
TYPE: Final = "y"
DECISION: Final = "d"
KIND: Final = "k"
RULE: Final = "r"
"""A rule that decided or found something."""
FINDING: Final = "f"
"""The rule or the category of a finding."""
ACTOR: Final = "a"
"""An operator: user@host, and the user alone."""


_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@:-]+")


class _Finding(msgspec.Struct):
    rule: str = ""
    category: str = ""


class _Fields(msgspec.Struct):
    seq: int
    time: int
    kind: str = "message"
    decision: str = ""
    rule: str = ""
    sender: str = ""
    target: str = ""
    type: str = ""
    message_id: str = ""
    correlation_id: str = ""
    parent_id: str = ""
    findings: tuple[_Finding, ...] = ()
    actor: str = ""


_read_all = msgspec.json.Decoder(list[_Fields]).decode
_read_one = msgspec.json.Decoder(_Fields).decode


_TERM_FIELDS: Final = (
    (SENDER, attrgetter("sender")),
    (TARGET, attrgetter("target")),
    (TYPE, attrgetter("type")),
    (DECISION, attrgetter("decision")),
    (KIND, attrgetter("kind")),
    (RULE, attrgetter("rule")),
)
_ACTOR: Final = attrgetter("actor")
_FINDINGS: Final = attrgetter("findings")
_MESSAGE_ID: Final = attrgetter("message_id")
_CORRELATION_ID: Final = attrgetter("correlation_id")
_PARENT_ID: Final = attrgetter("parent_id")
_TIME: Final = attrgetter("time")


@dataclass(frozen=True, slots=True)
class BlockTerms:
    """What a block of records holds."""

    terms: set[str]
    ids: set[str]
    oldest: int
    """Smallest time, Unix milliseconds; 0 when no record can be read."""
    newest: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a query asks of the index: blocks that hold all of it; what is left out asks nothing."""

    terms: tuple[str, ...] = ()
    type_prefix: str = ""
    """What the types that count begin with."""
    type_matches: Callable[[str], bool] | None = None
    identifier: str = ""
    """Id of a message, or one that it answers, or one whose handler sent it."""
    since: int = 0
    """Unix milliseconds."""
    until: int = 0

    @property
    def needle(self) -> bytes:
        """What stands in every record that counts, as long as no character in it is escaped."""
        values = (self.identifier, *(term[1:] for term in self.terms if term[0] != KIND))
        return next((value.encode() for value in values if _PLAIN.fullmatch(value)), b"")

    def overlaps(self, oldest: int, newest: int) -> bool:
        """Whether records between these times can be wanted."""
        return (not self.since or newest >= self.since) and (not self.until or oldest < self.until)


def id_fingerprint(identifier: str) -> int:
    """A number of 32 bits for an id; different ids can share one."""
    return zlib.crc32(identifier.encode("utf-8", "replace"))


def terms_of(records: Sequence[bytes]) -> BlockTerms:
    """The terms of a block; records that cannot be read have none."""
    rows = _rows(records)
    terms: set[str] = set()
    for letter, field in _TERM_FIELDS:
        terms.update([letter + value for value in set(map(field, rows)) if value])
    if any(map(_ACTOR, rows)):
        actors = set(map(_ACTOR, rows)) - {""}
        terms.update(ACTOR + name for actor in actors for name in (actor, actor.partition("@")[0]))
    if any(map(_FINDINGS, rows)):
        for row in rows:
            for finding in row.findings:
                terms.update((RULE + finding.rule, FINDING + finding.rule, FINDING + finding.category))
    ids = set(map(_MESSAGE_ID, rows))
    ids.update(map(_CORRELATION_ID, rows))
    ids.update(map(_PARENT_ID, rows))
    ids.discard("")
    times = list(map(_TIME, rows))
    return BlockTerms(terms, ids, min(times, default=0), max(times, default=0))


def _rows(records: Sequence[bytes]) -> list[_Fields]:
    try:
        rows = _read_all(b"[" + b",".join(records) + b"]")
        # A line that holds two records is none.
        if len(rows) == len(records):
            return rows
    except (ValueError, RecursionError):
        pass
    return [row for record in records if (row := _read(record)) is not None]


def _read(record: bytes) -> _Fields | None:
    try:
        return _read_one(record)
    except (ValueError, RecursionError):
        return None
