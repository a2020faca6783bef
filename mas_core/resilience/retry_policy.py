"""Retries as a library: a policy object, and a decorator for functions that fail for a while.

The same policy says to an agent's gateway when a message that could not be handled comes again.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

import msgspec

from mas_core.base.logs import get_logger
from mas_core.errors import MasError, UsageError
from mas_core.model.retry import RetryTerms, Strategy

log = get_logger(__name__)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
AnyFunction = TypeVar("AnyFunction", bound=Callable[..., object])
Errors = tuple[type[BaseException] | str, ...]
"""Classes of errors; or, as text, codes of `MasError` or names of classes."""


class RetryOptions(TypedDict, total=False):
    """What `RetryPolicy` takes."""

    strategy: Strategy
    attempts: int
    base: float
    factor: float
    max_delay: float
    jitter: float
    max_elapsed: float | None
    retry_on: Errors
    give_up_on: Errors


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often something is tried, how long it rests in between, and after which errors.

    An error that says how long to wait (`retry_after`) is never followed by an earlier attempt.

    Args:
        strategy: `fixed`: `base` each time. `exponential`: `factor` times longer each time. `full_jitter`: anything
            from nothing to the exponential delay. `equal_jitter`: half of that, and anything up to the other half.
            `decorrelated_jitter`: anything from `base` to three times the delay before.
        attempts: How often it is tried at most, the first time included; 1 to 100.
        base: Seconds before the second attempt.
        factor: By which exponential delays grow.
        max_delay: Seconds that no delay exceeds; up to a day.
        jitter: Fixed and exponential delays are longer or shorter by up to this part of themselves; 0 to 1.
        max_elapsed: Seconds after the first attempt began after which none begins any more; None for no bound.
        retry_on: The errors that are worth another attempt: classes, codes of `MasError`, or names of classes.
        give_up_on: Those among them that are not.
        clock: Seconds that never go backwards.

    Raises:
        UsageError: A number is out of its bounds.
    """

    strategy: Strategy = "exponential"
    attempts: int = 3
    base: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.2
    max_elapsed: float | None = None
    retry_on: Errors = (Exception,)
    give_up_on: Errors = (UsageError,)
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        _ = self.terms
        if not (isinstance(self.retry_on, tuple) and isinstance(self.give_up_on, tuple)):
            raise UsageError("errors are given as a tuple", hint="retry_on=(ConnectionError,)")

    @property
    def terms(self) -> RetryTerms:
        """The same as the gateway understands it.

        Raises:
            UsageError: A number is out of its bounds.
        """
        try:
            return msgspec.convert(
                {
                    "strategy": self.strategy,
                    "attempts": self.attempts,
                    "base_ms": _milliseconds(self.base, at_least=1),
                    "max_ms": _milliseconds(self.max_delay, at_least=1),
                    "factor": float(self.factor),
                    "jitter": float(self.jitter),
                    "max_elapsed_ms": 0
                    if self.max_elapsed is None
                    else _milliseconds(self.max_elapsed, at_least=1),
                },
                RetryTerms,
            )
        except (msgspec.ValidationError, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"this is no policy for retries: {error}") from None

    def delays(self, chance: random.Random | None = None) -> Iterator[float]:
        """Seconds before each attempt after the first.

        Args:
            chance: Where random numbers come from; a seeded one gives the same delays each time.
        """
        source = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        return (delay / 1000 for delay in islice(self.terms.delays_ms(source), self.attempts - 1))

    def retries(self, error: BaseException) -> bool:
        """Whether this error is worth another attempt."""
        return _is_among(error, self.retry_on) and not _is_among(error, self.give_up_on)

    async def call(
        self,
        function: Callable[Parameters, Awaitable[Result]],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Call an async function until it succeeds or is given up; then its last error is raised."""
        pauses = _Pauses(self, function)
        while True:
            try:
                return await function(*args, **kwargs)
            except Exception as error:
                pause = pauses.after(error)
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    def call_sync(
        self,
        function: Callable[Parameters, Result],
        /,
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """The same for a function that is not async; the thread sleeps between the attempts."""
        pauses = _Pauses(self, function)
        while True:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                pause = pauses.after(error)
                if pause is None:
                    raise
            time.sleep(pause)


class _Pauses:
    """The pauses of one call."""

    def __init__(self, policy: RetryPolicy, function: Callable[..., object]) -> None:
        self._policy = policy
        self._name = getattr(function, "__qualname__", type(function).__name__)
        self._delays = policy.delays()
        self._begun = policy.clock()
        self._attempt = 1

    def after(self, error: Exception) -> float | None:
        """Seconds until the next attempt; None when there is none."""
        policy = self._policy
        delay = next(self._delays, None)
        if delay is None or not policy.retries(error):
            return None
        delay = max(delay, wait_of(error))
        if policy.max_elapsed is not None and policy.clock() + delay > self._begun + policy.max_elapsed:
            return None
        log.info(
            "retry.waits",
            function=self._name,
            attempt=self._attempt,
            seconds=round(delay, 3),
            error=type(error).__name__,
        )
        self._attempt += 1
        return delay


@overload
def retry(function: AnyFunction, /) -> AnyFunction: ...


@overload
def retry(
    policy: RetryPolicy | None = None, /, **options: Unpack[RetryOptions]
) -> Callable[[AnyFunction], AnyFunction]: ...


def retry(
    policy: RetryPolicy | Callable[..., object] | None = None, /, **options: Unpack[RetryOptions]
) -> object:
    """Decorate a function, async or not, so that it is tried again when it fails.

    `@retry`, `@retry(policy)`, or `@retry(attempts=5, strategy="full_jitter")` with what `RetryPolicy` takes.

    Raises:
        UsageError: Both a policy and options are given, or the function is a generator, which cannot start over.
    """
    if isinstance(policy, RetryPolicy) and options:
        raise UsageError("give a policy or its parts, not both")
    if policy is None or isinstance(policy, RetryPolicy):
        chosen = policy or RetryPolicy(**options)
        return lambda function: _decorated(chosen, function)
    return _decorated(RetryPolicy(), policy)


def _decorated(policy: RetryPolicy, function: AnyFunction) -> AnyFunction:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"{function.__qualname__} is a generator, which cannot be started over")
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> object:
            return await policy.call(function, *args, **kwargs)

        return cast("AnyFunction", call)

    @functools.wraps(function)
    def call_sync(*args: Any, **kwargs: Any) -> object:
        return policy.call_sync(function, *args, **kwargs)

    return cast("AnyFunction", call_sync)


def wait_of(error: BaseException) -> float:
    """Seconds that the error says to wait; 0 where it says nothing."""
    found = error.details.get("retry_after") if isinstance(error, MasError) else None
    return max(0.0, float(found)) if isinstance(found, int | float) and math.isfinite(found) else 0.0


def _is_among(error: BaseException, errors: Errors) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, MasError):
        names.add(error.code)
    return any(isinstance(error, item) if isinstance(item, type) else item in names for item in errors)


def _milliseconds(seconds: float, *, at_least: int) -> int:
    if seconds < 0:
        raise ValueError("a time is negative")
    return max(at_least, round(seconds * 1000))
