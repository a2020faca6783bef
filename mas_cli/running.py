"""Commands that run until they are told to stop: the first signal drains, Ctrl-C after that forces."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from mas_cli.errors import OutputClosed, Terminated
from mas_cli.invocation import Invocation
from mas_core.errors import DeadlineExceeded, MasError

T = TypeVar("T")


class Lifetime:
    """How long a run lasts.

    A signal before it is ready cancels what is being started. One after that sets `stop`; Ctrl-C while it
    drains cancels the rest, and so does SIGTERM where `ends_at_second` says so.
    """

    def __init__(self, call: Invocation, *, ends_at_second: bool = False) -> None:
        self.stop = asyncio.Event()
        self.is_ready = False
        """Set by the command once what it runs is ready."""
        self.cut_by: signal.Signals | None = None
        """The signal that cancelled the run."""
        self._call = call
        self._ends_at_second = ends_at_second
        self._task: asyncio.Task[Any] | None = None

    async def last(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Await `work`; None when a signal cut it short."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._signalled, signal.SIGINT)
        loop.add_signal_handler(signal.SIGTERM, self._signalled, signal.SIGTERM)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            # the terminal has gone; nohup keeps the signal ignored
            loop.add_signal_handler(signal.SIGHUP, self._signalled, signal.SIGTERM)
        task = asyncio.create_task(work)
        self._task = task
        try:
            return await task
        except asyncio.CancelledError:
            if self.cut_by is None:
                raise
            return None

    def unheard(self) -> None:
        """End the run, quietly: nobody reads what it tells."""
        self.stop.set()
        if not self.is_ready and self._task is not None:
            self.cut_by = signal.SIGPIPE
            self._task.cancel()

    def _signalled(self, number: signal.Signals) -> None:
        if self._task is None:
            return
        if self.stop.is_set() or self.cut_by:
            if number is signal.SIGINT or self._ends_at_second:
                self._call.talk.say("stopping by force")
                self.cut_by = number
                self._task.cancel()
            return
        if self.is_ready:
            self._call.talk.say("stopping, what is in hand gets finished (Ctrl-C again to force)")
            self.stop.set()
        else:
            self._call.talk.say("stopping early (Ctrl-C again to force)")
            self.cut_by = number
            self._task.cancel()


def run_until_stopped(
    call: Invocation,
    work: Callable[[Lifetime], Coroutine[Any, Any, T]],
    seconds: float | None = None,
    *,
    ends_at_second: bool = False,
) -> T:
    """Run `work` on an event loop of its own until it ends.

    Args:
        call: The call.
        work: What to run, made for its lifetime.
        seconds: How long it may take.
        ends_at_second: A second SIGTERM forces as Ctrl-C does.

    Raises:
        DeadlineExceeded: It took longer.
        KeyboardInterrupt: Ctrl-C cut it short.
        Terminated: SIGTERM cut it short.
        OutputClosed: Nobody reads what it tells any more.
    """
    from mas_core.ops.program import run

    async def main() -> tuple[Lifetime, T | None]:
        lifetime = Lifetime(call, ends_at_second=ends_at_second)
        async with asyncio.timeout(seconds):
            return lifetime, await lifetime.last(work(lifetime))

    try:
        lifetime, result = run(main())
    except TimeoutError as error:
        if isinstance(error, MasError):
            raise
        raise DeadlineExceeded(f"not done after {seconds:g} s", hint="--timeout 2m") from error
    if lifetime.cut_by is signal.SIGINT:
        raise KeyboardInterrupt
    if lifetime.cut_by is signal.SIGPIPE:
        raise OutputClosed
    if lifetime.cut_by is not None:
        raise Terminated
    return result  # type: ignore[return-value]
