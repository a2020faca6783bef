"""Reads the server's append-only file: where its commands and transactions end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Unit:
    """What is carried out at once or not at all: one command, or everything from MULTI to EXEC."""

    start: int
    end: int
    commands: tuple[tuple[bytes, ...], ...]

    @property
    def is_commit(self) -> bool:
        """Whether this is a batch of a gateway: deliveries or receipts with their audit records."""
        return len(self.commands) > 1 and any(
            command[0] == b"XADD" and command[1].endswith(b":audit") for command in self.commands
        )


def file_of(data: Path) -> Path:
    """The file that commands are appended to.

    Raises:
        FileNotFoundError: There is none.
    """
    found = sorted((data / "appendonlydir").glob("*.incr.aof"))
    if not found:
        raise FileNotFoundError(f"no append-only file in {data}")
    return found[-1]


def units(text: bytes) -> list[Unit]:
    """Everything in it that is whole."""
    found: list[Unit] = []
    at = start = 0
    pending: list[tuple[bytes, ...]] = []
    is_open = False
    while at < len(text):
        try:
            command, at = _command(text, at)
        except (ValueError, IndexError):
            break
        name = command[0].upper()
        if name == b"MULTI":
            is_open, pending = True, []
            continue
        if name != b"EXEC":
            pending.append(command)
            if is_open:
                continue
        found.append(Unit(start, at, tuple(pending)))
        start, pending, is_open = at, [], False
    return found


def _command(text: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """A command in the server's protocol, and where it ends."""
    count, at = _number(text, at, b"*")
    parts = []
    for _ in range(count):
        size, at = _number(text, at, b"$")
        if at + size + 2 > len(text):
            raise ValueError
        parts.append(text[at : at + size])
        at += size + 2
    return tuple(parts), at


def _number(text: bytes, at: int, mark: bytes) -> tuple[int, int]:
    if text[at : at + 1] == b"#":
        # A time stamp, which is a comment.
        at = text.index(b"\r\n", at) + 2
    end = text.index(b"\r\n", at)
    if text[at : at + 1] != mark:
        raise ValueError
    return int(text[at + 1 : end]), end + 2
