"""A circuit breaker as a state machine: no clock, no random numbers, no I/O.

    closed ──failures in a row, or their share──▶ open ──time-out──▶ half-open ──successes──▶ closed
                                                   ▲                    │
                                                   └───── a failure ────┘

Closed, everything passes. Open, nothing does. Half-open, a few trials pass, and what becomes of them decides.
Whoever uses it says what the time is and what became of each call.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from mas_core.model.policy import BreakerLimits

SLOTS = 12
"""Parts of a window: what is older than the window is forgotten a part at a time."""


class State(StrEnum):
    """Where a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Passage(Enum):
    """What a circuit says to one call."""

    FREE = "free"
    TRIAL = "trial"
    """It may pass, if it is begun as a trial and its outcome is told."""
    REFUSED = "refused"


@dataclass(slots=True)
class Circuit:
    """One circuit. Times are milliseconds of any clock that does not go backwards.

    `spread`, where a method takes it, is a number from 0 to 1 that lengthens the time-out by that part of its
    jitter, so that circuits which open together do not try again together.
    """

    limits: BreakerLimits
    state: State = State.CLOSED
    since: int = 0
    """When it last opened or closed."""
    until: int = 0
    """Of an open circuit: when trials begin."""
    failures: int = 0
    """Failures that it knew of when it last opened."""
    in_a_row: int = 0
    """Failures since the last success."""
    _window: deque[list[int]] = field(default_factory=deque)
    """Slot, failures and successes; it begins with a failure, since before that there is nothing to weigh."""
    _trials: dict[str, int] = field(default_factory=dict)
    """Trial -> when it counts as lost."""
    _successes: int = 0
    """Trials that went well since it is half-open."""

    def ask(self, now: int) -> Passage:
        """Whether a call may pass; nothing is counted yet."""
        if self.state is State.CLOSED:
            return Passage.FREE
        if self.state is State.OPEN:
            if now < self.until:
                return Passage.REFUSED
            self._half_open()
        for name in [name for name, lost_at in self._trials.items() if lost_at <= now]:
            del self._trials[name]
        return Passage.TRIAL if len(self._trials) < self.limits.trials else Passage.REFUSED

    def wait_ms(self, now: int) -> int:
        """Milliseconds after which asking again may help."""
        if self.state is State.OPEN and now < self.until:
            return self.until - now
        return 0 if self.state is State.CLOSED else min(1000, self.limits.timeout_ms)

    def begin_trial(self, name: str, now: int) -> None:
        """A call passes as a trial; when nothing is heard of it for the time-out, another may."""
        self._trials[name] = now + self.limits.timeout_ms

    def has_trial(self, name: str) -> bool:
        """Whether a trial of this name is on its way."""
        return name in self._trials

    def end_trial(self, name: str, now: int, *, is_success: bool, spread: float = 0.0) -> bool:
        """A trial has ended; whether the circuit opened or closed by that. Unknown trials change nothing."""
        if self._trials.pop(name, None) is None or self.state is not State.HALF_OPEN:
            return False
        if not is_success:
            self.trip(now, self.failures + 1, spread)
            return True
        self._successes += 1
        if self._successes < self.limits.successes:
            return False
        self.close(now)
        return True

    def give_up_trial(self, name: str) -> None:
        """A trial says nothing about this circuit."""
        self._trials.pop(name, None)

    def succeeded(self, now: int, count: int = 1) -> None:
        """Calls went well while it was closed."""
        if self.state is not State.CLOSED or count <= 0:
            return
        self.in_a_row = 0
        self._drop_old(self._number(now))
        if self._window:
            self._slot(now)[2] += count

    def failed(self, now: int, spread: float = 0.0) -> bool:
        """A call failed; whether that opened the circuit. What failed too late for a closed one is not counted."""
        if self.state is not State.CLOSED:
            return False
        self.in_a_row += 1
        self._slot(now)[1] += 1
        failures = sum(slot[1] for slot in self._window)
        calls = failures + sum(slot[2] for slot in self._window)
        is_row = self.in_a_row >= self.limits.failures
        is_share = calls >= self.limits.calls and failures >= self.limits.rate * calls
        if is_row or is_share:
            self.trip(now, failures, spread)
        return is_row or is_share

    def trip(self, now: int, failures: int = 0, spread: float = 0.0) -> None:
        """Open it."""
        until = now + int(self.limits.timeout_ms * (1 + self.limits.jitter * spread))
        self.open(now, until, failures)

    def open(self, since: int, until: int, failures: int = 0) -> None:
        """Open it for a time that somebody else chose."""
        self._forget()
        self.state, self.since, self.until, self.failures = State.OPEN, since, until, failures

    def close(self, now: int) -> None:
        """Close it and forget what it counted."""
        self._forget()
        self.state, self.since, self.until = State.CLOSED, now, 0

    def is_forgettable(self, now: int) -> bool:
        """Whether it is closed and has seen no failure for a window."""
        self._drop_old(self._number(now))
        return self.state is State.CLOSED and not self._window

    def _half_open(self) -> None:
        self.state = State.HALF_OPEN
        self._successes = 0
        self._trials.clear()

    def _forget(self) -> None:
        self.in_a_row = self._successes = 0
        self._window.clear()
        self._trials.clear()

    def _slot(self, now: int) -> list[int]:
        number = self._number(now)
        self._drop_old(number)
        if not self._window or self._window[-1][0] < number:
            self._window.append([number, 0, 0])
        return self._window[-1]

    def _number(self, now: int) -> int:
        return now * SLOTS // self.limits.window_ms

    def _drop_old(self, number: int) -> None:
        while self._window and (self._window[0][0] <= number - SLOTS or not self._window[0][1]):
            self._window.popleft()
