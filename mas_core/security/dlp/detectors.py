"""Further detectors beside the rules: whatever says of texts what in them is sensitive.

A detector runs in a process of its own, so that neither its memory nor its time nor its crash is the gateway's.
While it gives no answer, payloads are unscannable. With a detector every payload is looked at closely, and a
scan takes as long as the detector does: they are for routes and systems with little traffic.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from mas_core.errors import ConfigurationError

MAX_ANSWER_BYTES: Final = 8 << 20
START_SECONDS: Final = 120.0
KNOWN: Final = {"presidio": "mas_core.security.dlp.presidio:Presidio"}
"""Name in the settings -> what makes the detector."""


class Detection(NamedTuple):
    """One sensitive part of a text."""

    kind: str
    """What it is, such as person; the rule's id is this behind the detector's name."""
    start: int
    end: int


class Detector(Protocol):
    """Finds sensitive parts of texts by other means than patterns."""

    name: str
    """Lower case letters; the first part of its rules' ids."""
    kinds: Sequence[str]
    """Everything that it can find."""

    def detect(self, texts: Sequence[str]) -> Sequence[Sequence[Detection]]:
        """For each text, in order, what is sensitive in it.

        Raises:
            Exception: Whatever went wrong; the payload is then unscannable.
        """


class DetectorError(RuntimeError):
    """The detector gave no answer."""


class DetectorProcess:
    """A detector in a process of its own, with a time limit; started anew after it has failed.

    Args:
        factory: `module:name` of what makes the detector there.
        timeout_s: Seconds that one payload may take.

    Raises:
        ConfigurationError: It does not start.
    """

    def __init__(self, factory: str, *, timeout_s: float = 5.0) -> None:
        self._factory = factory
        self._timeout_s = timeout_s
        self._process = self._started()
        try:
            about = msgspec.json.decode(self._line(START_SECONDS), type=tuple[str, list[str]])
        except (DetectorError, msgspec.DecodeError) as error:
            self.close()
            raise ConfigurationError(
                f"the detector {factory} does not start", hint="pip install 'mas[presidio]'"
            ) from error
        self.name = about[0]
        self.kinds: Sequence[str] = about[1]
        self._is_ready = True

    def detect(self, texts: Sequence[str]) -> Sequence[Sequence[Detection]]:
        """For each text what is sensitive in it.

        Raises:
            DetectorError: It failed, took too long, or is still starting after it did.
        """
        try:
            if not self._is_ready:
                self._line(0.01)
                self._is_ready = True
            self._send(msgspec.json.encode(texts) + b"\n")
            answer = self._line(self._timeout_s)
            found = msgspec.json.decode(answer, type=list[list[Detection]])
            is_whole = len(found) == len(texts)
        except (OSError, msgspec.DecodeError, DetectorError) as error:
            if self._is_ready or self._process.poll() is not None:
                self.close()
                self._process = self._started()
                self._is_ready = False
            raise DetectorError from error
        if not is_whole:
            raise DetectorError
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _started(self) -> subprocess.Popen[bytes]:
        self._rest = b""
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "mas_core.security.dlp.detector_worker", self._factory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        descriptor = self._process.stdin.fileno()
        deadline = time.monotonic() + self._timeout_s
        view = memoryview(data)
        os.set_blocking(descriptor, False)
        while view:
            _, writable, _ = select.select([], [descriptor], [], max(deadline - time.monotonic(), 0))
            if not writable:
                raise DetectorError
            view = view[os.write(descriptor, view) :]

    def _line(self, seconds: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            readable, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
            if not readable:
                raise DetectorError
            data = os.read(descriptor, 65536)
            if not data or len(self._rest) > MAX_ANSWER_BYTES:
                raise DetectorError
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def open_detectors(names: Sequence[str], *, timeout_s: float) -> tuple[DetectorProcess, ...]:
    """The detectors that the settings name, each in its process.

    Raises:
        ConfigurationError: One is not known or does not start.
    """
    for name in names:
        if name not in KNOWN:
            raise ConfigurationError(f"there is no detector {name!r}", hint=f"known: {', '.join(KNOWN)}")
    return tuple(DetectorProcess(KNOWN[name], timeout_s=timeout_s) for name in names)
