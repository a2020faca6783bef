"""A file of lines that several processes append to: whole lines or nothing, each once.

Writers hold a lock on the file itself while they write. What a killed writer left without a line end is cut off
by the next one, and what does not fit on the disk is taken back.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mas_core.audit.durable_files import open_append, sync_folder, write_all
from mas_core.errors import ConfigurationError

_CHUNK: Final = 64 * 1024
_ATTEMPTS: Final = 100


def make_folder(path: Path) -> None:
    """Make a folder that only we can use; one that is there already stays as it is.

    Raises:
        OSError: It cannot be made.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


class OpenLines:
    """The file while its lock is held."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path
        self.size = os.fstat(descriptor).st_size
        if self.size and os.pread(descriptor, 1, self.size - 1) != b"\n":
            self.cut(self._line_start(self.size))

    def last_line(self) -> bytes:
        """The last line without its end; empty when there is none."""
        return next(self.lines_backwards(), (0, b""))[1]

    def lines_backwards(self) -> Iterator[tuple[int, bytes]]:
        """Lines from the last to the first, each with where it starts."""
        end = self.size
        while end:
            start = self._line_start(end - 1)
            yield start, os.pread(self._descriptor, end - 1 - start, start)
            end = start

    def read_from(self, start: int) -> bytes:
        """What stands there up to the end."""
        return os.pread(self._descriptor, self.size - start, start)

    def add(self, lines: Sequence[bytes], *, sync: bool) -> None:
        """Append lines without their ends.

        Raises:
            OSError: The disk does not take them; then none is there.
        """
        data = b"\n".join(lines) + b"\n"
        try:
            write_all(self._descriptor, data)
            if sync:
                os.fsync(self._descriptor)
        except OSError:
            self.cut(self.size)
            raise
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Cut the file off there."""
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)
        self.size = size

    def _line_start(self, end: int) -> int:
        """Where the line begins that ends before `end`."""
        while end > 0:
            start = max(0, end - _CHUNK)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0


class LinesFile:
    """Appends lines to the file at `path`, and starts a new one when it gets large.

    A full file gets the next number in its name, as in `audit.000001.jsonl`, and keeps it.

    Args:
        path: The file; its folder is made when missing.
        max_bytes: Size at which a new one is started; 0 for never.
    """

    def __init__(self, path: Path, max_bytes: int = 0) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._numbered = re.compile(rf"{re.escape(path.stem)}\.([0-9]{{6,}}){re.escape(path.suffix)}")

    def append(
        self, choose: Callable[[OpenLines], Sequence[bytes]] | Sequence[bytes], *, sync: bool = False
    ) -> int:
        """Append lines; how many.

        Args:
            choose: The lines, or what says which, once the lock is held.
            sync: Return only when they are on the disk.

        Raises:
            OSError: The file does not take them; then none is there.
            ConfigurationError: The file is replaced again and again.
        """
        with self._locked() as file:
            lines = choose(file) if callable(choose) else choose
            if not lines:
                return 0
            if not self._is_full(file.size, lines):
                file.add(lines, sync=sync)
                return len(lines)
            self._put_away()
        with self._locked() as file:
            file.add(lines, sync=sync)
            return len(lines)

    def last_line(self) -> bytes:
        """The last line that was written, in this file or the full one before it; empty when there is none."""
        if self.path.exists():
            with self._locked() as file:
                if line := file.last_line():
                    return line
        return self.last_full_line()

    def last_full_line(self) -> bytes:
        """The last line of the newest full file that has one; empty when there is none."""
        for path in reversed(self.full_files()):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return OpenLines(descriptor, path).last_line()
            finally:
                os.close(descriptor)
        return b""

    def full_files(self) -> list[Path]:
        """The full files before this one, oldest first."""
        if not self.path.parent.is_dir():
            return []
        found = [
            (int(match[1]), path)
            for path in self.path.parent.iterdir()
            if (match := self._numbered.fullmatch(path.name))
        ]
        return [path for _, path in sorted(found)]

    def _is_full(self, size: int, lines: Sequence[bytes]) -> bool:
        more = sum(map(len, lines)) + len(lines)
        return bool(self._max_bytes and size and size + more > self._max_bytes)

    def _put_away(self) -> None:
        """Give the full file its number; the lock on it is held, so nobody else does."""
        full = self.full_files()
        number = int(self._numbered.fullmatch(full[-1].name)[1]) if full else 0  # type: ignore[index]
        self.path.rename(self.path.with_name(f"{self.path.stem}.{number + 1:06d}{self.path.suffix}"))
        sync_folder(self.path.parent)

    @contextmanager
    def _locked(self) -> Iterator[OpenLines]:
        make_folder(self.path.parent)
        for _ in range(_ATTEMPTS):
            descriptor = open_append(self.path)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._is_at_path(descriptor):
                    yield OpenLines(descriptor, self.path)
                    return
            finally:
                os.close(descriptor)
        raise ConfigurationError(f"{self.path} is replaced again and again", path=str(self.path))

    def _is_at_path(self, descriptor: int) -> bool:
        """Whether the file was not put away while we waited for its lock."""
        try:
            return os.path.samestat(os.fstat(descriptor), self.path.lstat())
        except FileNotFoundError:
            return False
