"""What an agent says in a call, made sure of before it comes near the store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NoReturn

from mas_core.base.resources import check_pattern, check_resource
from mas_core.errors import UsageError
from mas_core.model.priority import LANES
from mas_core.model.topic import TOPIC
from mas_core.store.stored import ENTRY
from mas_core.store.topics import RELEASED

INSTANCE: Final = re.compile(r"[0-9a-f]{16}")
MAX_BLOCK_MS: Final = 5_000
MAX_NUMBER: Final = 2**64 - 1
MAX_ITEMS: Final = 4_096
"""Things that one call may name."""
MAX_MARK: Final = 300
MAX_MESSAGES: Final = 64
"""In a frame of an inbox."""


def instance(text: str) -> str:
    """The id of a running instance; all of these raise UsageError where the text cannot be one."""
    return text if INSTANCE.fullmatch(text) else _refuse("instance", text)


def consumer(text: str) -> str:
    """Whoever reads a log together with others."""
    return text if text == RELEASED or INSTANCE.fullmatch(text) else _refuse("consumer", text)


def lane(text: str) -> str:
    """A lane."""
    return text if text in LANES else _refuse("lane", text)


def entry(text: str) -> str:
    """The id of an entry of a stream: two numbers of 64 bits, the second with one after it."""
    if not ENTRY.fullmatch(text) or any(int(part) >= MAX_NUMBER for part in text.split("-")):
        _refuse("entry", text)
    return text


def place(text: str) -> str:
    """The id of an entry, or 0 for what is before the first."""
    return text if text == "0" else entry(text)


def mark(text: str) -> str:
    """What names a message that may take effect once."""
    return text if len(text) <= MAX_MARK and text.isprintable() else _refuse("mark", text)


def topic(text: str) -> str:
    """The name of a topic."""
    return check_resource(TOPIC, text).partition(":")[2]


def pattern(text: str) -> str:
    """A pattern of topics."""
    check_pattern(TOPIC, text)
    return text


def group(text: str) -> str:
    """The name of a group that elects leaders."""
    return check_resource("leader", text).partition(":")[2]


def partition(number: int, partitions: int) -> int:
    """One of so many partitions."""
    return number if number < partitions else _refuse("partition", str(number))


def positions(numbers: Iterable[int], total: int) -> tuple[int, ...]:
    """Places of messages in a frame with so many."""
    found = tuple(numbers)
    if not 0 < total <= MAX_MESSAGES or not found or len(found) > total or max(found) >= total:
        _refuse("positions", f"{len(found)} of {total}")
    return found


def block_ms(milliseconds: int) -> int:
    """How long a reading may wait; the store takes 0 for ever."""
    return max(1, min(milliseconds, MAX_BLOCK_MS))


def few(count: int) -> None:
    """A number of things that a call names."""
    if count > MAX_ITEMS:
        _refuse("number of items", str(count))


def _refuse(what: str, text: str) -> NoReturn:
    raise UsageError(f"{text[:80]!r} is no {what}")
