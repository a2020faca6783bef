"""Second places for checkpoints: a folder, a program, an address.

Each has a task of its own. One that is slow or away gets the newest checkpoint of each partition when it is back;
neither what is signed nor the other places ever wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import urllib.request
from collections.abc import Awaitable, Callable
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError

from mas_core.audit.durable_files import append_durably
from mas_core.audit.notary_status import WitnessState
from mas_core.base.backoff import exponential_delays
from mas_core.base.logs import get_logger
from mas_core.errors import ConfigurationError
from mas_core.settings.gateway_settings import WitnessSettings
from mas_core.settings.private_files import private_dir

log = get_logger(__name__)

LAST_SECONDS: Final = 3.0
"""What a witness gets for what is pending when the notary ends."""
MAX_RETRY_S: Final = 30.0
MAX_ANSWER_BYTES: Final = 100_000

_OWN_VARIABLES = ("MAS_", "GATEWAY_", "REDIS_")

Deliver = Callable[[int, bytes], Awaitable[None]]
"""Hands over a partition's checkpoint."""


class Undelivered(Exception):
    """A witness did not take a checkpoint."""


class Witness:
    """One second place; start it, offer it checkpoints, stop it.

    Args:
        name: What to call it.
        deliver: Hands over one checkpoint.
        timeout_s: Seconds that this may take.
    """

    def __init__(self, name: str, deliver: Deliver, timeout_s: float) -> None:
        self.name = name
        self._timeout = timeout_s
        self._deliver = deliver
        self._pending: dict[int, bytes] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        """Set while nothing is pending, and after a failure."""
        self._idle.set()
        self._delivered = 0
        self._failures = 0
        self._problem = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> WitnessState:
        """How it stands."""
        return WitnessState(self.name, self._delivered, self._failures, self._problem)

    def start(self) -> None:
        """Begin to hand over what is offered."""
        self._task = asyncio.create_task(self._run())

    def offer(self, partition: int, note: bytes) -> None:
        """Hand this over, in place of an older one of the partition that it has not got yet."""
        self._pending[partition] = note
        self._idle.clear()
        self._wake.set()

    async def stop(self) -> None:
        """Hand over what is pending, if that does not take long, and end."""
        if self._task is None:
            return
        if not self._problem:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), LAST_SECONDS)
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None

    async def _run(self) -> None:
        delays = exponential_delays(base=0.5, maximum=MAX_RETRY_S)
        while True:
            await self._wake.wait()
            self._wake.clear()
            for partition in sorted(self._pending):
                note = self._pending[partition]
                try:
                    async with asyncio.timeout(self._timeout):
                        await self._deliver(partition, note)
                except (Undelivered, OSError, TimeoutError, ConfigurationError) as error:
                    self._failed(error)
                    self._idle.set()
                    await asyncio.sleep(next(delays))
                    self._wake.set()
                    break
                self._delivered += 1
                self._problem = ""
                delays = exponential_delays(base=0.5, maximum=MAX_RETRY_S)
                if self._pending.get(partition) is note:
                    del self._pending[partition]
                else:
                    self._wake.set()
            if not self._pending:
                self._idle.set()

    def _failed(self, error: BaseException) -> None:
        self._failures += 1
        reason = str(error) or type(error).__name__
        if isinstance(error, TimeoutError) and not str(error):
            reason = f"no answer within {self._timeout:g} s"
        if not self._problem:
            log.warning("witness.failed", witness=self.name, reason=reason[:200])
        self._problem = f"it did not take the last checkpoint: {reason[:200]}"


def witness_of(settings: WitnessSettings) -> Witness:
    """The witness that the settings describe."""
    deliver: Deliver
    if settings.folder is not None:
        deliver = _ToFolder(settings.folder)
    elif settings.command is not None:
        deliver = _ToCommand(settings.command)
    else:
        deliver = _ToUrl(settings.url or "", settings.timeout_s)
    return Witness(settings.name, deliver, settings.timeout_s)


class Aside:
    """Runs what may block for ever, one at a time, in a thread that keeps nobody from ending."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], None]) -> None:
        """Run `work` and wait for it.

        Raises:
            Undelivered: What ran before is not done yet, although nobody waits for it any more.
        """
        if self._thread is not None and self._thread.is_alive():
            raise Undelivered("it is still busy with an older one")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell(error: Exception | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def body() -> None:
            failure: Exception | None = None
            try:
                work()
            except Exception as error:  # noqa: BLE001 - handed on to whoever waits
                failure = error
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, failure)

        self._thread = threading.Thread(target=body, daemon=True)
        self._thread.start()
        await done


class _ToFolder:
    """Appends to `p<P>/checkpoints`, as in the evidence folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = Aside()

    async def __call__(self, partition: int, note: bytes) -> None:
        await self._aside.run(lambda: self._append(partition, note))

    def _append(self, partition: int, note: bytes) -> None:
        folder = private_dir(self._folder / f"p{partition}")
        append_durably(folder / "checkpoints", note + b"\n")


class _ToCommand:
    """Runs a program with the note on its standard input; exit code 0 says that it took it."""

    def __init__(self, command: list[str]) -> None:
        self._command = command

    async def __call__(self, _partition: int, note: bytes) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if not name.startswith(_OWN_VARIABLES)},
            start_new_session=True,
        )
        try:
            await process.communicate(note)
        finally:
            if process.returncode is None:
                # With all that it started: its group is its own.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            raise Undelivered(f"it ended with {process.returncode}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A checkpoint is posted where the settings say, and nowhere else."""


class _ToUrl:
    """Posts the note as text/plain; an answer of 200 to 299 says that it was taken."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout = timeout_s
        self._aside = Aside()

    async def __call__(self, _partition: int, note: bytes) -> None:
        await self._aside.run(lambda: self._post(note))

    def _post(self, note: bytes) -> None:
        post(self._url, note, "text/plain; charset=utf-8", self._timeout)


def post(url: str, data: bytes, content_type: str, timeout_s: float) -> bytes:
    """Post something, and follow no redirection; the beginning of what is answered.

    Raises:
        Undelivered: It was not taken.
        OSError: The connection failed.
    """
    request = urllib.request.Request(  # noqa: S310 - the settings say which schemes are allowed
        url, data, {"Content-Type": content_type}, method="POST"
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as answer:
            found: bytes = answer.read(MAX_ANSWER_BYTES)
            return found
    except HTTPError as error:
        error.close()
        raise Undelivered(f"it answered {error.code}") from None
    except URLError as error:
        raise Undelivered(f"{error.reason}") from None
    except (HTTPException, ValueError) as error:
        raise Undelivered(type(error).__name__) from None
