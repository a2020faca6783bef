"""The circuits of a partition: which targets fail, for whom, and what to do with their messages meanwhile.

Two kinds of circuits:

- **of a target**, for faults of delivery: nobody runs who could answer, nothing of it can open its messages,
  or handlers fail for several senders. No sender counts for more than half of the failures that open it, so
  one alone never opens it for the others.
- **of a pair** of sender and target, for what one sender's messages do: payloads that the target refuses, and
  handlers that fail on them. It opens when enough messages of the pair have failed since the first failure
  and they are the share that the policy names.

Only what fails is watched: while nothing does, `watched` is empty and no message costs more than looking at it.
Circuits that are open are in the store, so that the next owner knows them; counts are in memory only. Breakers
are an aid, not a control: what cannot be read counts as closed, and is counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TypeVar

from mas_core.gateway.circuit_records import CircuitRecords
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.watches import (
    DELIVERY_FAULTS,
    FORGET_AFTER_MS,
    PAYLOAD_FAULTS,
    Pair,
    Watch,
    is_abandoned,
)
from mas_core.model.breaker import CircuitRecord
from mas_core.model.message import Delivery, Flag
from mas_core.model.policy import PolicyDocument
from mas_core.registry.signed import Macs
from mas_core.resilience.circuit import Circuit, Passage, State
from mas_core.store.commits import Commit

_Item = TypeVar("_Item")

MAX_WATCHED = 10_000
"""Targets, and pairs of each target, that are watched at the same time."""

_TIDY_MS = 1_000


class Breakers:
    """All circuits of one partition, in the memory of its owner."""

    def __init__(self, macs: Macs, ledger: Ledger, chance: Callable[[], float] = random.random) -> None:
        self.records = CircuitRecords(macs)
        self._ledger = ledger
        self._chance = chance
        self._policy = PolicyDocument()
        self.enabled = False
        self.watched: dict[str, Watch] = {}
        """Target -> what failed; empty while nothing does."""
        self._tidied = 0

    def restart(self, policy: PolicyDocument, fields: Mapping[str, bytes], now: int) -> None:
        """Start over from the policy and what the store says; what is only counted stays counted."""
        self._policy = policy
        self.enabled = policy.features.circuit_breaker
        self.records.restart(fields)
        if not self.enabled:
            self.watched.clear()
            return
        for target, watch in self.watched.items():
            watch.forget_open(policy.breaker_of(target))
        orders = self.records.orders()
        for target, order in orders.items():
            if self.records.is_new(target, order):
                if order.action == "reset":
                    # What was counted before it counts no more either.
                    self.watched.pop(target, None)
                self._record(f"breaker.{order.action}", "", target, order.reason, now, actor=order.by)
        for sender, target, record in self.records.circuits():
            ordered_at = orders[target].at if target in orders else 0
            if record.until + FORGET_AFTER_MS < now or ordered_at >= record.since:
                self.records.drop(sender, target)
                continue
            watch = self._watch(target)
            circuit = self._pair(watch, sender, target, now).circuit if sender else watch.circuit
            circuit.open(record.since, record.until, record.failures)
            if sender:
                watch.pairs[sender].payload_faults = record.failures if record.is_payload else 0
            else:
                watch.is_absent = record.is_absent
        for target, order in orders.items():
            if order.action == "open" and order.until > now:
                watch = self._watch(target)
                if watch.circuit.since <= order.at:
                    watch.circuit.open(order.at, order.until)
                    watch.is_forced = True

    # What the stage asks.

    def ask(
        self, sender: str, target: str, now: int, *, expects_reply: bool
    ) -> tuple[Passage, Circuit | None]:
        """Whether a message may go, and the circuit that says no."""
        watch = self.watched.get(target)
        if watch is None:
            return Passage.FREE, None
        if watch.concerns(expects_reply=expects_reply):
            of_target = watch.circuit.ask(now)
            if of_target is Passage.TRIAL and watch.comes_later(sender, now):
                of_target = Passage.REFUSED
            if of_target is Passage.REFUSED:
                return of_target, watch.circuit
        else:
            of_target = Passage.FREE
        pair = watch.pairs.get(sender)
        of_pair = pair.circuit.ask(now) if pair is not None else Passage.FREE
        if pair is not None and of_pair is Passage.REFUSED:
            return of_pair, pair.circuit
        return (Passage.TRIAL if Passage.TRIAL in (of_target, of_pair) else Passage.FREE), None

    def backup_of(self, sender: str, target: str) -> str:
        """Who gets a message instead; nobody while only its sender's payloads are at fault."""
        watch = self.watched.get(target)
        if watch is None or (backup := self._policy.backups.get(target)) is None:
            return ""
        pair = watch.pairs.get(sender)
        if watch.circuit.state is State.CLOSED and pair is not None and pair.is_payload:
            return ""
        return backup

    def reason(self, circuit: Circuit, sender: str, target: str) -> str:
        """Why a circuit lets nothing pass, in words."""
        watch = self.watched[target]
        if watch.circuit is not circuit:
            return f"the last messages from {sender} to {target} failed"
        if watch.is_forced and circuit.state is State.OPEN:
            return f"an operator has opened the circuit of {target}"
        return f"no instance of {target} ran" if watch.is_absent else f"{target} fails"

    # What happened.

    def passes(self, sender: str, target: str, message_id: str, now: int, *, expects_reply: bool) -> None:
        """A message passes; where a circuit is half-open it is a trial."""
        watch = self.watched.get(target)
        if watch is None:
            return
        name = _trial_name(sender, message_id)
        for circuit in watch.circuits_of(sender):
            is_concerned = circuit is not watch.circuit or watch.concerns(expects_reply=expects_reply)
            if is_concerned and circuit.state is State.HALF_OPEN:
                circuit.begin_trial(name, now)

    def turned_back(self, sender: str, target: str, message_id: str) -> None:
        """A message that passed was stopped behind the circuits: it is no trial."""
        watch = self.watched.get(target)
        if watch is not None:
            name = _trial_name(sender, message_id)
            for circuit in watch.circuits_of(sender):
                circuit.give_up_trial(name)

    def deliver(self, delivery: Delivery) -> None:
        """A message is delivered; a trial is marked, so that its outcome is told."""
        delivery.flags &= ~Flag.TRIAL
        watch = self.watched.get(delivery.target)
        if watch is None:
            return
        pair = watch.pairs.get(delivery.sender)
        if pair is not None:
            pair.calls += 1
        name = _trial_name(delivery.sender, delivery.id)
        if any(circuit.has_trial(name) for circuit in watch.circuits_of(delivery.sender)):
            delivery.flags |= Flag.TRIAL

    def told(
        self, target: str, sender: str, message_id: str, code: str, handled: int | None, now: int
    ) -> None:
        """An agent says what became of a message that it settled itself; no code for a success."""
        if not self.enabled:
            return
        if code:
            self.failed(target, sender, message_id, code, handled, now, is_settled=True)
            return
        watch = self.watched.get(target)
        if watch is None:
            return
        name = _trial_name(sender, message_id)
        if watch.circuit.end_trial(name, now, is_success=True):
            self._closed("", target, watch, now)
        pair = watch.pairs.get(sender)
        if pair is not None and pair.circuit.end_trial(name, now, is_success=True):
            self._closed(sender, target, watch, now)

    def failed(
        self,
        target: str,
        sender: str,
        message_id: str,
        code: str,
        handled: int | None,
        now: int,
        *,
        is_settled: bool = False,
    ) -> None:
        """A delivered message could not be handled.

        Args:
            target: Whose handler it was.
            sender: Who sent the message.
            message_id: Its id.
            code: What the target says was wrong.
            handled: How many messages the target has handled by now, if that is known.
            now: Unix milliseconds.
            is_settled: The target settled it, so that it is among the handled.
        """
        if not self.enabled:
            return
        watch = self._watch(target)
        if is_settled:
            watch.note_failed_settled()
        watch.note_handled(handled, now)
        name = _trial_name(sender, message_id)
        is_payload = code in PAYLOAD_FAULTS
        if code not in DELIVERY_FAULTS:
            self._pair_failed(watch, sender, target, name, now, is_payload=is_payload)
        if is_payload:
            watch.circuit.give_up_trial(name)
        elif watch.circuit.has_trial(name):
            watch.bad_trials.add(sender)
            watch.is_absent = False
            if watch.circuit.end_trial(name, now, is_success=False, spread=self._chance()):
                self._opened("", target, watch, now)
        elif (code in DELIVERY_FAULTS or watch.takes_share(sender, now)) and watch.circuit.failed(
            now, self._chance()
        ):
            self._opened("", target, watch, now)

    def absent(self, target: str, now: int) -> None:
        """Nobody runs who could answer a request."""
        if not self.enabled:
            return
        watch = self._watch(target)
        watch.absences += 1
        if watch.circuit.state is State.HALF_OPEN:
            watch.circuit.trip(now, watch.circuit.failures + 1, self._chance())
        elif not watch.circuit.failed(now, self._chance()):
            return
        watch.is_absent = True
        self._opened("", target, watch, now)

    def came(self, target: str, now: int) -> None:
        """An instance has started: a circuit that opened because there was none may try at once."""
        watch = self.watched.get(target)
        if watch is None:
            return
        watch.came()
        if watch.is_absent and watch.circuit.state is not State.CLOSED:
            watch.circuit.close(now)
            self._closed("", target, watch, now)

    def postponed_ms(self, delivery: Delivery, now: int) -> int:
        """For how long a message that is to be tried again should wait; 0 for not at all."""
        if not self.watched:
            return 0
        expects_reply = bool(delivery.flags & Flag.EXPECTS_REPLY)
        passage, circuit = self.ask(delivery.sender, delivery.target, now, expects_reply=expects_reply)
        return max(1, circuit.wait_ms(now)) if passage is Passage.REFUSED and circuit is not None else 0

    def write(self, commit: Commit, now: int) -> None:
        """Put what changed into the commit, and forget what no longer fails."""
        if self.records.has_writes:
            self.records.write(commit)
        if self.watched and now >= self._tidied + _TIDY_MS:
            self._tidied = now
            self._tidy(now)

    # Inside.

    def _watch(self, target: str) -> Watch:
        watch = self.watched.get(target)
        if watch is None:
            if len(self.watched) >= MAX_WATCHED:
                _drop_first(
                    self.watched, lambda watch: watch.circuit.state is State.CLOSED and not watch.pairs
                )
            watch = self.watched[target] = Watch(Circuit(self._policy.breaker_of(target)))
        return watch

    def _pair(self, watch: Watch, sender: str, target: str, now: int) -> Pair:
        pair = watch.pairs.get(sender)
        if pair is None:
            if len(watch.pairs) >= MAX_WATCHED:
                _drop_first(watch.pairs, lambda pair: pair.circuit.state is State.CLOSED)
            pair = watch.pairs[sender] = Pair(Circuit(self._policy.breaker_of(target)), now)
        return pair

    def _pair_failed(
        self, watch: Watch, sender: str, target: str, name: str, now: int, *, is_payload: bool
    ) -> None:
        pair = self._pair(watch, sender, target, now)
        if pair.circuit.has_trial(name):
            opened = pair.circuit.end_trial(name, now, is_success=False, spread=self._chance())
        else:
            opened = pair.failed(now, self._chance(), is_payload=is_payload)
        if opened:
            self._opened(sender, target, watch, now)

    def _opened(self, sender: str, target: str, watch: Watch, now: int) -> None:
        pair = watch.pairs.get(sender)
        circuit = pair.circuit if pair is not None else watch.circuit
        watch.is_forced = watch.is_forced and pair is not None
        is_payload = pair is not None and pair.is_payload
        record = CircuitRecord(
            circuit.since, circuit.until, circuit.failures, is_payload, watch.is_absent and pair is None
        )
        self.records.put(sender, target, record)
        self._record("breaker.open", sender, target, self.reason(circuit, sender, target), now, circuit)

    def _closed(self, sender: str, target: str, watch: Watch, now: int) -> None:
        self.records.drop(sender, target)
        if sender:
            del watch.pairs[sender]
            why = f"messages from {sender} to {target} are handled again"
        else:
            why = f"{target} runs again" if watch.is_absent else f"{target} handles messages again"
            watch.recovered()
        self._record("breaker.close", sender, target, why, now)

    def _record(
        self,
        kind: str,
        sender: str,
        target: str,
        reason: str,
        now: int,
        circuit: Circuit | None = None,
        *,
        actor: str = "",
    ) -> None:
        details: dict[str, object] = {}
        if circuit is not None:
            details = {"failures": circuit.failures, "until": circuit.until}
        self._ledger.record_event(
            kind, now, reason=reason, sender=sender, target=target, details=details, actor=actor
        )

    def _tidy(self, now: int) -> None:
        for target, watch in list(self.watched.items()):
            window = watch.circuit.limits.window_ms
            for sender, pair in list(watch.pairs.items()):
                if pair.circuit.state is State.CLOSED and now >= pair.first + window:
                    del watch.pairs[sender]
                elif is_abandoned(pair.circuit, now):
                    pair.circuit.close(now)
                    self._closed(sender, target, watch, now)
            if is_abandoned(watch.circuit, now):
                watch.circuit.close(now)
                self._closed("", target, watch, now)
            if not watch.pairs and watch.circuit.is_forgettable(now):
                del self.watched[target]


def _trial_name(sender: str, message_id: str) -> str:
    return f"{sender} {message_id}"


def _drop_first(items: dict[str, _Item], may_go: Callable[[_Item], bool]) -> None:
    """Make room: drop the oldest that may go, or the oldest of all."""
    name = next((name for name, item in items.items() if may_go(item)), next(iter(items)))
    del items[name]
