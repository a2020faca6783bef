"""What is counted of a target of which something failed: its own circuit, and one for each sender concerned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mas_core.model.policy import BreakerLimits
from mas_core.resilience.circuit import Circuit, State

PAYLOAD_FAULTS: Final = frozenset({"invalid_payload", "usage"})
"""Codes with which a handler says that the message makes no sense: only its sender can do something about it."""

DELIVERY_FAULTS: Final = frozenset({"unopenable"})
"""Codes that have nothing to do with what is in the message."""

FORGET_AFTER_MS: Final = 3_600_000
"""An open circuit that nobody tried for so long after its time-out counts as closed."""


@dataclass(slots=True)
class Pair:
    """What one sender's messages to one target do."""

    circuit: Circuit
    first: int
    """When the first failure was that counts."""
    failures: int = 0
    payload_faults: int = 0
    calls: int = 0
    """Messages delivered since then, and the failure that began it."""

    @property
    def is_payload(self) -> bool:
        """Whether it is mostly the payloads that are refused."""
        return 2 * self.payload_faults > self.failures

    def failed(self, now: int, spread: float, *, is_payload: bool) -> bool:
        """A message of the pair failed; whether that opened its circuit."""
        limits = self.circuit.limits
        if self.circuit.state is not State.CLOSED:
            return False
        if now >= self.first + limits.window_ms:
            self.first, self.failures, self.payload_faults, self.calls = now, 0, 0, 0
        if not self.failures:
            self.calls += 1
        self.failures += 1
        self.payload_faults += is_payload
        if self.failures < limits.failures or self.failures < limits.rate * self.calls:
            return False
        self.circuit.trip(now, self.failures, spread)
        return True


@dataclass(slots=True)
class Watch:
    """A target of which something failed lately."""

    circuit: Circuit
    pairs: dict[str, Pair] = field(default_factory=dict)
    bad_trials: set[str] = field(default_factory=set)
    """Senders whose trial failed: others come first the next time."""
    absences: int = 0
    """How often nobody ran since an instance started."""
    is_absent: bool = False
    """Opened because nobody ran."""
    is_forced: bool = False
    """Opened by an operator."""
    _handled: int | None = None
    """How many messages the target had handled when that was last looked at."""
    _failed_settled: int = 0
    """Failures that the target settled itself, which are therefore among the handled."""
    _shares: dict[str, int] = field(default_factory=dict)
    """Sender -> its failures that counted against the target."""
    _shares_since: int = 0

    def concerns(self, *, expects_reply: bool) -> bool:
        """Whether the target's circuit counts for a message.

        That nobody runs keeps back who waits for a reply; other messages wait in the inbox, as they do anyway.
        """
        return expects_reply or not self.is_absent

    def circuits_of(self, sender: str) -> tuple[Circuit, ...]:
        """The circuits that a message of this sender meets."""
        pair = self.pairs.get(sender)
        return (self.circuit,) if pair is None else (self.circuit, pair.circuit)

    def note_handled(self, handled: int | None, now: int) -> None:
        """What went well since the last look counts as before the failure that makes us look."""
        if handled is None:
            return
        if self._handled is not None:
            newly = max(0, handled - self._handled)
            not_well = min(newly, self._failed_settled)
            self._failed_settled -= not_well
            self.circuit.succeeded(now, newly - not_well)
        self._handled = handled

    def note_failed_settled(self) -> None:
        """The target settled a message that failed."""
        self._failed_settled += 1

    def takes_share(self, sender: str, now: int) -> bool:
        """Whether one more failure of this sender's messages counts against the target."""
        limits = self.circuit.limits
        if now >= self._shares_since + limits.window_ms:
            self._shares.clear()
            self._shares_since = now
        share = self._shares.get(sender, 0) + 1
        if share > (limits.failures + 1) // 2:
            return False
        self._shares[sender] = share
        return True

    def comes_later(self, sender: str, now: int) -> bool:
        """Whether a sender's message is no trial yet.

        Who fails trials on purpose must not keep the circuit open for those who would not.
        """
        return sender in self.bad_trials and now < self.circuit.until + self.circuit.limits.timeout_ms

    def came(self) -> None:
        """An instance has started: that nobody ran counts no more."""
        self.circuit.in_a_row = max(0, self.circuit.in_a_row - self.absences)
        self.absences = 0

    def recovered(self) -> None:
        """The circuit of the target has closed."""
        self.is_absent = self.is_forced = False
        self.bad_trials.clear()
        self._shares.clear()

    def forget_open(self, limits: BreakerLimits) -> None:
        """Keep what is only counted, under these limits; which circuits are open, others know."""
        if self.circuit.state is not State.CLOSED:
            self.circuit = Circuit(limits)
        self.circuit.limits = limits
        self.is_absent = self.is_forced = False
        self.pairs = {
            sender: pair for sender, pair in self.pairs.items() if pair.circuit.state is State.CLOSED
        }
        for pair in self.pairs.values():
            pair.circuit.limits = limits


def is_abandoned(circuit: Circuit, now: int) -> bool:
    """Whether nobody tried an open circuit for so long that it counts as closed."""
    return circuit.state is not State.CLOSED and circuit.until + FORGET_AFTER_MS < now
