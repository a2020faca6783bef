"""What a checkpoint says: size and root of a partition's tree, and how the others stood (C2SP tlog-checkpoint).

Lines after the root: `time` (Unix ms of the server's clock), `head` (number and SHA-256 of the last record),
`era` (after a restore that was accepted: its number, size and root of the log before), and `partition` for each
other partition, so that none of them can be replaced alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Self

from mas_core.audit.merkle import HASH_SIZE
from mas_core.errors import NoteInvalid

_LINES_AT_LEAST = 3
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TreeState:
    """How large a partition's tree was, and its root."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Era:
    """That the log began anew after a restore that was accepted, and what it was before."""

    number: int
    before: TreeState


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint of one partition."""

    origin: str
    """`<namespace>/<system id>/audit/<partition>`."""
    size: int
    root: bytes
    time: int
    """Unix milliseconds by the server's clock; it may go back."""
    head: str
    """SHA-256 of record number `size`, hex."""
    era: Era | None = None
    others: dict[int, TreeState] = field(default_factory=dict)
    """Partition -> its newest checkpoint at that time."""

    @property
    def state(self) -> TreeState:
        """Size and root."""
        return TreeState(self.size, self.root)

    def text(self) -> str:
        """The text that is signed."""
        lines = [self.origin, str(self.size), _base64(self.root), f"time {self.time}"]
        lines.append(f"head {self.size} {self.head}")
        if self.era is not None:
            lines.append(f"era {self.era.number} {self.era.before.size} {_base64(self.era.before.root)}")
        for partition, state in sorted(self.others.items()):
            lines.append(f"partition {partition} {state.size} {_base64(state.root)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint in the text of a note; lines that are not known are passed over.

        Raises:
            NoteInvalid: It is no checkpoint of ours.
        """
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < _LINES_AT_LEAST:
            raise NoteInvalid("a checkpoint has an origin, a size and a root")
        origin, size, root, *rest = lines
        time, head, era = -1, "", None
        others: dict[int, TreeState] = {}
        for line in rest:
            match line.split(" "):
                case ["time", value]:
                    time = _number(value)
                case ["head", at, value] if at == size and _HASH.fullmatch(value):
                    head = value
                case ["era", number, before, before_root]:
                    era = Era(_number(number), TreeState(_number(before), _root(before_root)))
                case ["partition", number, other, other_root]:
                    others[_number(number)] = TreeState(_number(other), _root(other_root))
        if not origin or time < 0 or not head:
            raise NoteInvalid("a checkpoint names its origin, time and head")
        return cls(origin, _number(size), _root(root), time, head, era, others)


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise NoteInvalid(f"{text[:40]!r} in a checkpoint is no number")
    return int(text)


def _root(text: str) -> bytes:
    try:
        root = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        root = b""
    if len(root) != HASH_SIZE:
        raise NoteInvalid("a root in a checkpoint is not a hash")
    return root


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
