"""A circuit breaker as a library: calls to what keeps failing are refused for a while, instead of waited for.

It is the gateway's circuit with a clock and a lock; its state lies in this process, whose threads and tasks may
share it.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import random
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast, overload

from mas_core.base.logs import get_logger
from mas_core.errors import CircuitOpen, UsageError
from mas_core.model.policy import BreakerLimits
from mas_core.resilience.circuit import Circuit, Passage, State

log = get_logger(__name__)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
AnyFunction = TypeVar("AnyFunction", bound=Callable[..., object])

_USUAL = BreakerLimits()


class CircuitBreaker:
    """Refuses calls while what they call keeps failing.

        breaker = CircuitBreaker("billing", failures=3, timeout=10)
        await breaker.call(charge, order)

    Closed, every call passes. After `failures` in a row, or when their share is `rate`, it opens: calls raise
    `CircuitOpen` at once. After `timeout` it is half-open: `trials` calls pass at a time; `successes` of them close
    it, and one that fails opens it again.

    Args:
        name: What is called, for errors and logs.
        failures: Failures in a row that open it.
        rate: Share of failures that opens it as well, from `calls` calls on; 0 to 1.
        calls: Calls from which on the share counts.
        window: Seconds for which a call counts; what came before the first failure does not.
        timeout: Seconds until trials pass.
        jitter: By which part of itself the time-out is lengthened at most, by chance.
        trials: Trials at the same time.
        successes: Trials that have to go well.
        counts: Errors that count as failures.
        ignores: Those among them that say nothing about what is called.
        clock: Seconds that never go backwards.
        chance: Random numbers from 0 to 1, for the jitter.

    Raises:
        UsageError: A number is out of its bounds.
    """

    def __init__(
        self,
        name: str = "",
        *,
        failures: int = _USUAL.failures,
        rate: float = _USUAL.rate,
        calls: int = _USUAL.calls,
        window: float = _USUAL.window_ms / 1000,
        timeout: float = _USUAL.timeout_ms / 1000,
        jitter: float = _USUAL.jitter,
        trials: int = _USUAL.trials,
        successes: int = _USUAL.successes,
        counts: tuple[type[BaseException], ...] = (Exception,),
        ignores: tuple[type[BaseException], ...] = (UsageError,),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if min(failures, calls, trials, successes) < 1 or not (0 < rate <= 1 and 0 <= jitter <= 1):
            raise UsageError(
                "counts of a breaker are at least 1, its rate is above 0, its jitter from 0 to 1"
            )
        if not (0 < window < float("inf") and 0 < timeout < float("inf")):
            raise UsageError("window and timeout of a breaker are seconds above 0")
        self.name = name
        self._counts = counts
        self._ignores = ignores
        self._clock = clock
        self._chance = chance
        self._circuit = Circuit(
            BreakerLimits(
                failures=failures,
                rate=rate,
                calls=calls,
                window_ms=max(1, round(window * 1000)),
                timeout_ms=max(1, round(timeout * 1000)),
                jitter=jitter,
                trials=trials,
                successes=successes,
            )
        )
        self._lock = threading.Lock()
        self._trials = itertools.count(1)

    @property
    def state(self) -> State:
        """closed, open or half_open."""
        with self._lock:
            self._circuit.ask(self._now())
            return self._circuit.state

    @property
    def retry_after(self) -> float:
        """Seconds after which another call may pass; 0 when it may now."""
        with self._lock:
            return self._retry_after()

    def reset(self) -> None:
        """Close it, and forget what was counted."""
        with self._lock:
            self._circuit.close(self._now())

    def trip(self) -> None:
        """Open it."""
        with self._lock:
            self._circuit.trip(self._now(), spread=self._chance())

    @overload
    async def call(
        self,
        function: Callable[Parameters, Awaitable[Result]],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result: ...

    @overload
    async def call(
        self,
        function: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result: ...

    async def call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, async or not, unless the circuit is open.

        Raises:
            CircuitOpen: It is; `retry_after` says for how long.
        """
        trial = self._begin()
        try:
            result = function(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        except BaseException as error:
            self._end(trial, error)
            raise
        self._end(trial, None)
        return result

    def call_sync(
        self,
        function: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """The same where nothing can be awaited.

        Raises:
            CircuitOpen: The circuit is open.
        """
        trial = self._begin()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            self._end(trial, error)
            raise
        self._end(trial, None)
        return result

    def __call__(self, function: AnyFunction) -> AnyFunction:
        """Decorate a function, async or not, so that its calls pass this breaker.

        Raises:
            UsageError: It is a generator, whose failures come after its call.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(f"{function.__qualname__} is a generator: its call says nothing about failures")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call(*args: Any, **kwargs: Any) -> object:
                return await self.call(function, *args, **kwargs)

            return cast("AnyFunction", call)

        @functools.wraps(function)
        def call_sync(*args: Any, **kwargs: Any) -> object:
            return self.call_sync(function, *args, **kwargs)

        return cast("AnyFunction", call_sync)

    def _begin(self) -> str:
        """Let a call pass, or refuse it; the name of the trial where it is one."""
        with self._lock:
            now = self._now()
            passage = self._circuit.ask(now)
            if passage is Passage.TRIAL:
                trial = str(next(self._trials))
                self._circuit.begin_trial(trial, now)
                return trial
            if passage is Passage.FREE:
                return ""
            wait = self._retry_after()
        raise CircuitOpen(
            f"{self.name or 'what this calls'} fails, and is left alone for a while",
            target=self.name,
            retry_after=wait,
        )

    def _end(self, trial: str, error: BaseException | None) -> None:
        with self._lock:
            now, circuit = self._now(), self._circuit
            before = circuit.state
            if error is None:
                if trial:
                    circuit.end_trial(trial, now, is_success=True)
                else:
                    circuit.succeeded(now)
            elif not isinstance(error, self._counts) or isinstance(error, self._ignores):
                circuit.give_up_trial(trial)
            elif trial:
                circuit.end_trial(trial, now, is_success=False, spread=self._chance())
            else:
                circuit.failed(now, self._chance())
            state = circuit.state
        if state is not before:
            log.warning("breaker.changed", name=self.name, state=str(state))

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _retry_after(self) -> float:
        return self._circuit.wait_ms(self._now()) / 1000
