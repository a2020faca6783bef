"""Standard output through a program that shows a screen at a time; only on a terminal, and only where asked for."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from typing import BinaryIO, cast

from mas_core.errors import ConfigurationError

USUAL_PAGER = "less -FRX"
_SWITCHES = {"1", "true", "yes", "on"}


def wanted_pager(asked: bool, environ: Mapping[str, str] = os.environ) -> str:
    """The pager that --pager or MAS_PAGER asks for; empty for none.

    MAS_PAGER names a program, or is 1 for that of PAGER.
    """
    named = environ.get("MAS_PAGER", "")
    if named in {"", "0", "false", "no", "off"} and not asked:
        return ""
    if named and named not in {*_SWITCHES, "0", "false", "no", "off"}:
        return named
    return environ.get("PAGER") or USUAL_PAGER


class PagedStream:
    """A stream whose first write starts the pager; what follows something asks for the plain one before."""

    def __init__(self, stream: BinaryIO, pager: str) -> None:
        self._stream = stream
        self._pager = pager
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, data: bytes) -> int:
        """Write to the pager.

        Raises:
            ConfigurationError: There is no such program.
            BrokenPipeError: Who reads has left it.
        """
        return self._target().write(data)

    @property
    def _is_closed(self) -> bool:
        return self._process is not None and self._open().closed

    def flush(self) -> None:
        """Hand over what is buffered."""
        if not self._is_closed:
            self._open().flush()

    def fileno(self) -> int:
        """Of the pager, or of standard output while none runs."""
        return self._open().fileno()

    def go_direct(self) -> None:
        """Write to standard output from now on, unless the pager has something already."""
        if self._process is None:
            self._pager = ""

    def close(self) -> None:
        """Wait until who reads has seen enough."""
        if self._process is None:
            return
        with _unheard_interrupts():
            with contextlib.suppress(BrokenPipeError):
                self._open().close()
            self._process.wait()

    def _open(self) -> BinaryIO:
        process = self._process
        return cast("BinaryIO", process.stdin) if process is not None else self._stream

    def _target(self) -> BinaryIO:
        if not self._pager:
            return self._stream
        if self._process is None:
            words = shlex.split(self._pager)
            try:
                self._process = subprocess.Popen(words, stdin=subprocess.PIPE)  # noqa: S603 - the user's own choice
            except (OSError, IndexError):
                raise ConfigurationError(
                    f"the pager {self._pager!r} cannot be run", hint=("unset MAS_PAGER", "export PAGER=less")
                ) from None
        return self._open()


@contextlib.contextmanager
def _unheard_interrupts() -> Iterator[None]:
    """Ctrl-C belongs to the pager."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
