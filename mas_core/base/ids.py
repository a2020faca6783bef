"""Identifiers: names of agents, ids of messages, ids of running instances."""

from __future__ import annotations

import hashlib
import os
import random
import re
import secrets
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from typing import Final

from ulid import ULID

from mas_core.errors import InvalidIdentifier

AGENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MESSAGE_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
MESSAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CAPABILITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
INSTANCE_ID = re.compile(r"[0-9a-f]{16}")

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(90, -1, -10)
_NUMBER_BITS = 30
"""The last six characters of an id count the ids of one millisecond, from a random number on."""
_random = random.Random(secrets.token_bytes(32))  # noqa: S311 - see new_message_id
_stamp: tuple[int, str, Iterator[int]] = (0, "", count())
"""The last millisecond, how its ids begin, and how they go on.

python-ulid takes ten times as long for each id. Replaced as a whole and counted by one call, so that threads
never make the same id.
"""


def _forget_stamp() -> None:
    global _stamp  # noqa: PLW0603 - the ids of this process are one sequence
    _stamp = (0, "", count())
    _random.seed(secrets.token_bytes(32))


os.register_at_fork(after_in_child=_forget_stamp)

GATEWAY = "gateway"
"""The name that control messages are addressed to; no agent can have it."""

RESERVED_AGENT_IDS = frozenset({GATEWAY})


def check_agent_id(agent_id: str) -> str:
    """Return `agent_id` when it is one.

    Raises:
        InvalidIdentifier: It is reserved, or not 1 to 63 of `a-z 0-9 _ -` with a letter or digit first.
    """
    if not AGENT_ID.fullmatch(agent_id):
        raise InvalidIdentifier(
            f"{agent_id!r} cannot be the id of an agent",
            hint="ids have 1 to 63 characters of a-z 0-9 _ - and start with a letter or a digit",
        )
    if agent_id in RESERVED_AGENT_IDS:
        raise InvalidIdentifier(f"{agent_id!r} is reserved and cannot be the id of an agent")
    return agent_id


def check_message_type(message_type: str) -> str:
    """Return `message_type` when it is one (letters, digits, `_ . -`, at most 128).

    Raises:
        InvalidIdentifier: It is not.
    """
    if not MESSAGE_TYPE.fullmatch(message_type):
        raise InvalidIdentifier(
            f"{message_type!r} cannot be a message type",
            hint="types look like task.process: 1 to 128 letters, digits, '_', '.', '-'",
        )
    return message_type


def check_message_id(message_id: str) -> str:
    """Return `message_id` when it is one (letters, digits, `. _ -`, at most 128).

    Raises:
        InvalidIdentifier: It is not.
    """
    if not MESSAGE_ID.fullmatch(message_id):
        raise InvalidIdentifier(
            f"{message_id!r} cannot be a message id",
            hint="message ids have 1 to 128 letters, digits, '.', '_', '-'",
        )
    return message_id


def check_capability(capability: str) -> str:
    """Return `capability` when it is one (letters, digits, `_ . -`, at most 64).

    Raises:
        InvalidIdentifier: It is not.
    """
    if not CAPABILITY.fullmatch(capability):
        raise InvalidIdentifier(
            f"{capability!r} cannot be a capability",
            hint="capabilities have 1 to 64 letters, digits, '_', '.', '-'",
        )
    return capability


def new_message_id() -> str:
    """A fresh ULID: 26 characters that sort by the millisecond they were made in."""
    global _stamp  # noqa: PLW0603 - the ids of this process are one sequence
    now = time.time_ns() // 1_000_000
    stamp = _stamp
    if now != stamp[0]:
        # Ids must be different, not secret, so a generator that was seeded once will do.
        bits = _random.getrandbits(80)
        beginning = now << 80 - _NUMBER_BITS | bits >> _NUMBER_BITS
        text = "".join([_PAIRS[beginning >> shift & 1023] for shift in _SHIFTS])
        stamp = _stamp = (now, text, count(bits & (1 << _NUMBER_BITS - 1) - 1))
    number = next(stamp[2])
    return f"{stamp[1]}{_PAIRS[number >> 20]}{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}"


REPLY_ORDINAL: Final = 0
"""Ordinal of the final reply among the messages of a turn; those that a handler sends count from 1."""

ERROR_ORDINAL: Final = -1
"""Ordinal of the error reply, which is another message than the final reply that was refused before it."""


def derived_message_id(parent_id: str, agent_id: str, ordinal: int) -> str:
    """The id of the `ordinal`-th message that `agent_id` sends while it handles `parent_id`.

    A second run of the same handler derives the same ids, so what it sends again is recognised.
    """
    digest = hashlib.sha256(f"{parent_id}\x00{agent_id}\x00{ordinal}".encode()).digest()
    return str(ULID.from_bytes(digest[:16]))


def new_instance_id() -> str:
    """An id for one running instance or one sending session: 16 hex digits."""
    return secrets.token_hex(8)


@lru_cache(maxsize=65_536)
def partition_of(agent_id: str, partitions: int) -> int:
    """The partition, 0 to `partitions` - 1, that owns everything of `agent_id`."""
    if partitions == 1:
        return 0
    # What comes off the wire may be no id at all, and only ids are small enough to be kept.
    return (_partition_of_id if len(agent_id) <= 63 else _partition_of)(agent_id, partitions)


def _partition_of(agent_id: str, partitions: int) -> int:
    return int.from_bytes(hashlib.sha256(agent_id.encode()).digest()[:8]) % partitions


_partition_of_id = lru_cache(maxsize=65_536)(_partition_of)
