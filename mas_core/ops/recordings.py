"""Recordings: what was watched, in a file, to be looked at again later without the system.

JSON Lines: a header, then events as `mas watch -o jsonl` writes them, and now and then the state of the whole
system (`status`) and what could not be recorded (`missed`). Such a file comes from anywhere, so it is read
like what comes off the wire.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import msgspec

from mas_core.errors import ConfigurationError, Conflict, RecordingInvalid, StoreUnreachable
from mas_core.ops.status import SystemStatus, status
from mas_core.ops.system import System
from mas_core.ops.watch import LiveEvent, follow, newest

FORMAT: Final = 1
STATUS_S: Final = 5.0
"""How often the state of the whole is recorded, if it changed."""
MAX_LINE: Final = 1 << 20
MAX_EVENTS: Final = 1_000_000
"""Events of a file that is played; longer ones can be watched line by line."""
RETRY_S: Final = 1.0
LONGEST_PAUSE_S: Final = 10.0
"""No pause of a replay is longer."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Header(msgspec.Struct, frozen=True):
    """The first line of a recording."""

    recording: str
    format: int
    version: str
    context: str
    time: str


class _Line(msgspec.Struct, frozen=True):
    time: str
    sender: str = msgspec.field(name="from", default="")
    target: str = msgspec.field(name="to", default="")
    type: str = ""
    bytes: _Count = 0
    decision: str = ""
    reason: str | None = ""
    rule: str | None = ""
    id: str | None = ""
    ms: _Count = 0
    missed: _Count = 0
    status: SystemStatus | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a recording: an event, the state of the whole, or a gap."""

    time: int
    """Unix milliseconds."""
    event: LiveEvent | None = None
    status: SystemStatus | None = None
    missed: int = 0
    """Decisions that were gone before they could be recorded."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording holds."""

    path: Path
    count: int
    gaps: int
    missed: int
    bytes: int
    seconds: float


def event_line(event: LiveEvent) -> dict[str, object]:
    """An event as `mas watch` and recordings write it."""
    return {
        "time": _moment(event.time),
        "from": event.sender,
        "to": event.target,
        "type": event.type,
        "bytes": event.bytes,
        "ms": event.ms,
        "decision": event.decision,
        "reason": event.reason,
        "rule": event.rule,
        "id": event.id,
    }


class Recorder:
    """Writes what is decided to a file, from now on.

    Every line is handed over at once, so that a recording which is cut off is one up to there.

    Args:
        system: What is watched.
        path: A file that there is not yet; made with mode 0600.
        max_bytes: Where to stop; 0 is nowhere.
    """

    def __init__(self, system: System, path: Path, *, max_bytes: int = 0) -> None:
        self._system = system
        self._path = path
        self._max_bytes = max_bytes
        self._count = self._gaps = self._missed = self._bytes = 0
        self._began = time.monotonic()

    @property
    def recorded(self) -> Recorded:
        """What is in the file so far."""
        seconds = time.monotonic() - self._began
        return Recorded(self._path, self._count, self._gaps, self._missed, self._bytes, seconds)

    async def run(self) -> None:
        """Record until cancelled, or until the file is large enough.

        Raises:
            Conflict: There is such a file.
            ConfigurationError: The file cannot be written.
            StoreUnreachable: The server was not there at the start; later it is waited for.
        """
        after = await newest(self._system)
        with _new_file(self._path) as file:
            tasks = [asyncio.create_task(self._look(file)), asyncio.create_task(self._follow(file, after))]
            try:
                self._write(file, Header("mas", FORMAT, version("mas"), self._system.target.name, _now()))
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            except OSError as error:
                raise ConfigurationError(f"{self._path} cannot be written: {error.strerror}") from None
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, file: BinaryIO, after: dict[int, int]) -> None:
        def missed(_: int, count: int) -> None:
            self._gaps += 1
            self._missed += count
            self._write(file, {"time": _now(), "missed": count})

        while True:
            try:
                async for event in follow(self._system, after, missed=missed):
                    if event is not None:
                        self._write(file, event_line(event))
                        self._count += 1
                    if self._max_bytes and self._bytes >= self._max_bytes:
                        return
            except StoreUnreachable:
                await asyncio.sleep(RETRY_S)

    async def _look(self, file: BinaryIO) -> None:
        before: SystemStatus | None = None
        while True:
            try:
                found = await status(self._system)
            except StoreUnreachable:
                await asyncio.sleep(RETRY_S)
                continue
            line = {"time": _moment(found.now), "status": found}
            if found != before and len(msgspec.json.encode(line)) < MAX_LINE:
                self._write(file, line)
                before = found
            await asyncio.sleep(STATUS_S)

    def _write(self, file: BinaryIO, value: object) -> None:
        line = msgspec.json.encode(value) + b"\n"
        file.write(line)
        file.flush()
        self._bytes += len(line)


def _new_file(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "wb")
    except FileExistsError:
        raise Conflict(f"{path} is there already", hint="another name for --out") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def header_of(path: Path) -> Header:
    """What a recording says of itself.

    Raises:
        RecordingInvalid: It is none, or of another format.
    """
    with _opened(path) as file:
        return _header(path, file)


def entries(path: Path) -> Iterator[Entry]:
    """What was recorded, line by line; a last line that was cut off is left out.

    Raises:
        RecordingInvalid: It is no recording; names the line.
    """
    decoder = msgspec.json.Decoder(_Line)
    with _opened(path) as file:
        _header(path, file)
        number = 1
        while text := file.readline(MAX_LINE + 1):
            number += 1
            if len(text) > MAX_LINE:
                raise RecordingInvalid(f"{path}:{number}: the line is longer than {MAX_LINE} bytes")
            if not text.endswith(b"\n"):
                return
            try:
                yield _entry(decoder.decode(text))
            except (msgspec.MsgspecError, ValueError, LookupError, RecursionError, OverflowError) as error:
                raise RecordingInvalid(f"{path}:{number}: {str(error)[:200]}", line=number) from None


def read(path: Path) -> list[Entry]:
    """All of a recording, in the order of time.

    Raises:
        RecordingInvalid: It is no recording, or too long to be played.
    """
    found: list[Entry] = []
    for entry in entries(path):
        found.append(entry)
        if len(found) > MAX_EVENTS:
            raise RecordingInvalid(
                f"{path} holds more than {MAX_EVENTS:,} events", hint=f"mas watch --replay {path}"
            )
    found.sort(key=lambda entry: entry.time)
    return found


async def replayed(path: Path, speed: float) -> AsyncIterator[LiveEvent]:
    """Events of a recording, with the pauses that there were between them.

    Args:
        path: The file.
        speed: How many times as fast; 0 is without any pause. No pause is longer than `LONGEST_PAUSE_S`.

    Raises:
        RecordingInvalid: It is no recording; names the line.
    """
    before = 0
    for entry in entries(path):
        if entry.event is None:
            continue
        if speed and before:
            await asyncio.sleep(min(LONGEST_PAUSE_S, max(0, entry.time - before) / 1000 / speed))
        before = entry.time
        yield entry.event


def _opened(path: Path) -> BinaryIO:
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise RecordingInvalid(f"{path} cannot be read: {error.strerror}") from None
    return file


def _header(path: Path, file: BinaryIO) -> Header:
    try:
        found = msgspec.json.decode(file.readline(MAX_LINE), type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, OSError, RecursionError):
        raise RecordingInvalid(
            f"{path}:1: this is no recording of mas", hint=f"mas record --out {path}", line=1
        ) from None
    if found.recording != "mas" or found.format != FORMAT:
        raise RecordingInvalid(
            f"{path}:1: this is a recording of format {found.format}, and only {FORMAT} can be read", line=1
        )
    return found


def _entry(line: _Line) -> Entry:
    when = datetime.fromisoformat(line.time)
    if when.tzinfo is None:
        raise ValueError("time: it has no zone")
    milliseconds = round((when - _EPOCH).total_seconds() * 1000)
    if milliseconds <= 0:
        raise ValueError("time: it is before 1970")
    if line.status is not None:
        # Whatever shows it asks for these; a state that has none was not recorded by mas.
        _ = line.status.problems
        return Entry(milliseconds, status=line.status)
    if line.missed:
        return Entry(milliseconds, missed=line.missed)
    return Entry(
        milliseconds,
        LiveEvent(
            milliseconds, line.sender, line.target, line.type, line.bytes, line.decision,
            line.reason or "", line.id or "", line.rule or "", line.ms,
        ),
    )  # fmt: skip


def _moment(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def _now() -> str:
    return _moment(int(time.time() * 1000))
