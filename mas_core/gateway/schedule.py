"""Scheduled messages of a partition: kept until they are due, then judged by the policy in force and delivered.

A scheduled message is kept in the commit that records it, sealed, and leaves in the commit that delivers it, so
it is delivered once whatever happens to gateways. What cannot be delivered for a passing reason is tried again
until its time to live ends; what the policy does not let through by then is a dead letter, since nobody waits
for the answer. Operators write cancellations and nothing else; the owner finds them among what is due.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from mas_core.base.clock import rfc3339
from mas_core.base.logs import get_logger
from mas_core.errors import DecryptionFailed
from mas_core.gateway.approvals import Approvals
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.dead_letters import DeadLetters
from mas_core.gateway.decided_ids import DecidedIds, recurring_name
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.second_look import PASSING, TRY_AGAIN_MS, SecondLook, note_change
from mas_core.gateway.transit import Transit, Verdict
from mas_core.model.decision import Decision, Receipt
from mas_core.model.delivery_mode import mode_of
from mas_core.model.frame import UNREADABLE
from mas_core.model.message import Delivery
from mas_core.model.priority import lane_of
from mas_core.model.scheduled import (
    SCHEDULE_PREFIX,
    Cancellation,
    ScheduledFacts,
    ScheduledMessage,
    ScheduleOutcome,
    cancel_field,
    due_name,
    item_field,
    mac_purpose,
    parts_of,
    schedule_id,
    seal_purpose,
)
from mas_core.registry.signed import Macs, signed, verified
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit

log = get_logger(__name__)

MAX_REMEMBERED = 10_000

_MESSAGE = msgspec.msgpack.Decoder(ScheduledMessage)


@dataclass(frozen=True, slots=True)
class ScheduleBounds:
    """How many messages of a partition may be scheduled at a time; more is back-pressure."""

    per_sender: int = 1_000
    total: int = 10_000


class Schedule:
    """What is sent for later in one partition; `effects` gets what must be committed."""

    def __init__(
        self,
        macs: Macs,
        at_rest: AtRest,
        ledger: Ledger,
        outbound: Outbound,
        breakers: Breakers,
        second_look: SecondLook,
        approvals: Approvals,
        dead_letters: DeadLetters,
        decided: DecidedIds,
        effects: list[Callable[[Commit], None]],
        *,
        waiting: Iterable[tuple[str, int]],
        bounds: ScheduleBounds,
    ) -> None:
        self._macs = macs
        self._at_rest = at_rest
        self._ledger = ledger
        self._outbound = outbound
        self._breakers = breakers
        self._second_look = second_look
        self._approvals = approvals
        self._dead_letters = dead_letters
        self._decided = decided
        self._effects = effects
        self._bounds = bounds
        self._due = dict(waiting)
        """Name of each scheduled message -> when it is due."""
        self._counts = Counter(parts[1] for name in self._due if (parts := parts_of(name)) is not None)
        self._ended: dict[str, int] = {}

    def due_of(self, transit: Transit) -> int:
        """When a message of this target, sender and id is or was due; 0 when none is or was a moment ago."""
        envelope = transit.envelope
        name = due_name(schedule_id(envelope.target, transit.sender, envelope.id))
        return self._due.get(name) or self._ended.get(name, 0)

    def refusal(self, sender: str, more: Sequence[str]) -> str:
        """Why a sender may not schedule another one, with these senders' messages to come; empty if it may."""
        if self._counts[sender] + more.count(sender) >= self._bounds.per_sender:
            return (
                f"{sender} has {self._bounds.per_sender:,} messages scheduled already, and that is the most"
            )
        if len(self._due) + len(more) >= self._bounds.total:
            return f"{self._bounds.total:,} messages are scheduled already, and that is the most"
        return ""

    def hold(self, transit: Transit, before: Decision, delivery: Delivery) -> None:
        """Keep a message until it is due.

        Args:
            transit: The message; its record will say that it is scheduled.
            before: What was decided about it otherwise.
            delivery: How it would be delivered now.
        """
        mode = mode_of(delivery.flags)
        facts = ScheduledFacts(
            transit.sender,
            delivery.target,
            delivery.type,
            delivery.id,
            len(delivery.data),
            transit.due,
            transit.envelope.ttl_ms,
            transit.now,
            before,
            transit.findings,
            transit.is_encrypted,
            delivery.priority,
            mode or "",
            transit.instance,
            transit.key_id,
            recurring_name(transit.sender, transit.envelope),
        )
        transit.details = {**(transit.details or {}), "deliver_at": transit.due}
        transit.hint = (f"mas schedule get {delivery.id}", f"mas schedule cancel {delivery.id}")
        delivery.accepted_at, delivery.expires_at = facts.due, facts.expires_at
        name, field = due_name(facts.id), item_field(facts.id)
        sealed = self._at_rest.seal(
            seal_purpose(facts.id), msgspec.msgpack.encode(ScheduledMessage(facts, delivery))
        )
        text = signed(self._macs, mac_purpose(field), msgspec.json.encode(facts))
        self._effects.append(lambda commit: commit.schedule(name, facts.due, sealed, field, text))
        self._due[name] = facts.due
        self._counts[facts.sender] += 1

    def resume(self, name: str, sealed: bytes, cancelled: bytes | None, now: int) -> None:
        """Take up a message that is due, or that somebody has cancelled."""
        if name in self._ended:
            # It was asked for again before the commit that took it away.
            return
        scheduled = name.removeprefix(SCHEDULE_PREFIX)
        try:
            message = _MESSAGE.decode(self._at_rest.open(seal_purpose(scheduled), sealed))
        except (DecryptionFailed, *UNREADABLE):
            self._end(name)
            reason = "a scheduled message cannot be read"
            self._ledger.record_event("delivery.dead", now, reason=reason, details={"name": name})
            return
        facts, delivery = message.facts, message.delivery
        cancellation = self._cancellation(facts, cancelled)
        if cancellation is not None:
            self._end(name)
            self._record("schedule.cancelled", facts, now, "", cancellation.reason, cancellation.by)
            self._tell(facts, ScheduleOutcome(True, cancellation.reason, cancellation.by))
        elif now < facts.due:
            # Somebody without the key has put it forward, or wrote something that looks like a cancellation.
            self._wait(name, facts.due, sealed)
        elif now > facts.expires_at:
            reason = "its time to live ended before it could be delivered"
            self._give_up(name, facts, delivery, "expired", reason, now)
        else:
            self._deliver(name, sealed, facts, delivery, now)

    def _deliver(self, name: str, sealed: bytes, facts: ScheduledFacts, delivery: Delivery, now: int) -> None:
        transit = self._second_look.again(
            delivery, now, instance=facts.instance, key_id=facts.key_id, is_encrypted=facts.is_encrypted
        )
        decision = transit.decision
        if decision in PASSING:
            if decision is Decision.BACKPRESSURE:
                self._approvals.full.add(facts.target)
            again = now + max(TRY_AGAIN_MS, int(transit.retry_after * 1000))
            self._wait(name, min(again, facts.expires_at + 1), sealed)
            return
        if not decision.is_delivered:
            reason = f"{transit.reason}: when it was due"
            self._give_up(name, facts, delivery, str(decision), reason, now, transit)
            return
        if transit.hold_rule and not self._approvals.has_room(1):
            self._wait(name, min(now + TRY_AGAIN_MS, facts.expires_at + 1), sealed)
            return
        if transit.data != delivery.data:
            before, delivery.data = delivery.data, transit.data
            note_change(delivery, before, transit.reason)
        self._end(name)
        found = facts.decision if decision is Decision.ALLOWED else decision
        if transit.hold_rule:
            reason = f"rule {transit.hold_rule} holds it until somebody approves it"
            transit.end(Verdict(Decision.HELD, reason, transit.hold_rule))
            self._approvals.hold(transit, found, delivery, self._ledger.seq + 1)
            self._record("schedule.held", facts, now, Decision.HELD, reason, details=transit.details)
        else:
            self._breakers.deliver(delivery)
            self._outbound.deliver(lane_of(delivery.priority), delivery)
            self._record("schedule.delivered", facts, now, found, transit.reason)
        self._conclude(facts, "it was due", now)

    def _cancellation(self, facts: ScheduledFacts, cancelled: bytes | None) -> Cancellation | None:
        if cancelled is None:
            return None
        data = verified(self._macs, mac_purpose(cancel_field(facts.id)), cancelled)
        try:
            found = msgspec.json.decode(data, type=Cancellation) if data is not None else None
        except msgspec.DecodeError:
            found = None
        # One that was played back is older than what it would cancel.
        if found is not None and found.at >= facts.scheduled_at:
            return found
        log.error("cancellation.ignored", scheduled=facts.id, reason="no operator gave it for this message")
        return None

    def _give_up(
        self,
        name: str,
        facts: ScheduledFacts,
        delivery: Delivery,
        code: str,
        reason: str,
        now: int,
        transit: Transit | None = None,
    ) -> None:
        if transit is not None and transit.findings:
            reason = f"{reason} ({', '.join(sorted({finding.rule for finding in transit.findings}))})"
        self._end(name)
        self._dead_letters.bury(delivery, now, code, reason)
        self._conclude(facts, reason, now)

    def _conclude(self, facts: ScheduledFacts, reason: str, now: int) -> None:
        """Whoever tried to cancel it learns that it is too late; whoever sends it again gets the first receipt."""
        self._tell(facts, ScheduleOutcome(False, reason))
        if facts.recurring:
            said = f"it is delivered at {rfc3339(facts.due)}"
            receipt = Receipt(facts.message_id, Decision.SCHEDULED, said, deliver_at=facts.due)
            self._decided.keep(facts.recurring, receipt, now)

    def _wait(self, name: str, due: int, sealed: bytes) -> None:
        self._effects.append(lambda commit: commit.add_later(name, due, sealed))

    def _end(self, name: str) -> None:
        due = self._due.pop(name, 0)
        if due and (parts := parts_of(name)) is not None:
            self._counts[parts[1]] -= 1
        self._ended[name] = due
        if len(self._ended) > MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        scheduled = name.removeprefix(SCHEDULE_PREFIX)
        fields = (item_field(scheduled), cancel_field(scheduled))
        self._effects.append(lambda commit: commit.end_schedule(name, fields))

    def _tell(self, facts: ScheduledFacts, outcome: ScheduleOutcome) -> None:
        text = signed(self._macs, mac_purpose(f"outcome:{facts.id}"), msgspec.json.encode(outcome))
        self._effects.append(lambda commit: commit.note_schedule_outcome(facts.id, text))

    def _record(
        self,
        kind: str,
        facts: ScheduledFacts,
        now: int,
        decision: str,
        reason: str,
        actor: str = "",
        details: dict[str, object] | None = None,
    ) -> None:
        self._ledger.record_event(
            kind,
            now,
            decision=decision,
            reason=reason,
            sender=facts.sender,
            target=facts.target,
            message_type=facts.type,
            message_id=facts.message_id,
            instance=facts.instance,
            actor=actor,
            details={**(details or {}), "deliver_at": facts.due},
        )
