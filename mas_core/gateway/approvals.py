"""Held messages of a partition: kept until a person decides, then delivered or not, and recorded either way.

A held message is kept in the commit that records it, sealed. Operators write decisions and nothing else; the
owner finds them among what is due. What was approved passes every check again that can have changed meanwhile,
and what cannot be delivered now for a passing reason is tried again until it is too late.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mas_core.base.logs import get_logger
from mas_core.errors import DecryptionFailed
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.second_look import PASSING, TRY_AGAIN_MS, SecondLook
from mas_core.gateway.transit import Transit, Verdict
from mas_core.model.approval import (
    DUE_PREFIX,
    ApprovalDecision,
    ApprovalOutcome,
    ApprovalState,
    HeldFacts,
    HeldMessage,
    approval_id_of,
    decision_field,
    due_name,
    item_field,
    mac_purpose,
    seal_purpose,
    state_of,
)
from mas_core.model.decision import Decision
from mas_core.model.message import Delivery
from mas_core.model.priority import lane_of
from mas_core.registry.signed import Macs, signed, verified
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit

log = get_logger(__name__)

MAX_HELD = 10_000
"""Messages of a partition that wait for a person; more is back-pressure."""

MAX_REMEMBERED = 10_000

_MESSAGE = msgspec.msgpack.Decoder(HeldMessage)


class Approvals:
    """What waits for a person in one partition; `effects` gets what must be committed."""

    def __init__(
        self,
        directory: Directory,
        macs: Macs,
        at_rest: AtRest,
        ledger: Ledger,
        outbound: Outbound,
        breakers: Breakers,
        second_look: SecondLook,
        effects: list[Callable[[Commit], None]],
        *,
        partition: int,
        waiting: int,
    ) -> None:
        self._directory = directory
        self._macs = macs
        self._at_rest = at_rest
        self._ledger = ledger
        self._outbound = outbound
        self._breakers = breakers
        self._effects = effects
        self._partition = partition
        self._waiting = waiting
        self._second_look = second_look
        self._ended: dict[str, None] = {}
        self.full: set[str] = set()
        """Agents whose inbox had no room for an approved message: their true backlog should be asked for."""

    def has_room(self, count: int) -> bool:
        """Whether so many more may wait."""
        return self._waiting + count <= MAX_HELD

    def hold(self, transit: Transit, before: Decision, delivery: Delivery, seq: int) -> None:
        """Keep a message until somebody decides.

        Args:
            transit: The message.
            before: What was decided about it otherwise.
            delivery: How it would be delivered.
            seq: Number of the audit record that will say that it is held.
        """
        approval_id = approval_id_of(self._partition, seq)
        expires_at = min(transit.now + self._directory.policy.approval_expires_ms, delivery.expires_at)
        facts = HeldFacts(
            approval_id,
            transit.sender,
            delivery.target,
            delivery.type,
            delivery.id,
            len(delivery.data),
            transit.rule,
            transit.now,
            expires_at,
            before,
            transit.findings,
            transit.expects_reply,
            transit.is_encrypted,
            delivery.priority,
            transit.instance,
            transit.key_id,
        )
        transit.approval = approval_id
        transit.details = {**(transit.details or {}), "approval": approval_id, "expires": expires_at}
        transit.hint = (f"mas approval get {approval_id}", f"mas approval approve {approval_id}")
        sealed = self._at_rest.seal(
            seal_purpose(approval_id), msgspec.msgpack.encode(HeldMessage(facts, delivery))
        )
        field = item_field(approval_id)
        text = signed(self._macs, mac_purpose(field), msgspec.json.encode(facts))
        self._effects.append(
            lambda commit: commit.hold(due_name(approval_id), expires_at, sealed, field, text)
        )
        self._waiting += 1

    def resume(self, name: str, sealed: bytes, decided: bytes | None, now: int) -> None:
        """Take up a message that is decided, or that nobody decided in time."""
        if name in self._ended:
            # It was asked for again before the commit that took it away.
            return
        approval_id = name.removeprefix(DUE_PREFIX)
        try:
            held = _MESSAGE.decode(self._at_rest.open(seal_purpose(approval_id), sealed))
        except (DecryptionFailed, msgspec.DecodeError):
            self._end(approval_id)
            self._ledger.record_event(
                "approval.expired",
                now,
                decision=Decision.INVALID,
                reason="a held message cannot be read",
                details={"approval": approval_id},
            )
            return
        facts, decision = held.facts, self._decision(approval_id, decided)
        match state_of(facts.expires_at, decision, now):
            case ApprovalState.WAITING:
                # Somebody without the key wrote something that looks like a decision.
                self._wait(name, facts.expires_at, sealed)
            case ApprovalState.REJECTED:
                reason = decision.reason if decision else ""
                self._conclude("approval.rejected", facts, Decision.DENIED, reason, decision, now)
            case ApprovalState.EXPIRED:
                reason = "nobody decided in time" if decision is None else "it was approved too late"
                self._conclude("approval.expired", facts, Decision.EXPIRED, reason, decision, now)
            case ApprovalState.APPROVED:
                self._deliver(name, sealed, held, decision, now)

    def _decision(self, approval_id: str, decided: bytes | None) -> ApprovalDecision | None:
        if decided is None:
            return None
        data = verified(self._macs, mac_purpose(decision_field(approval_id)), decided)
        try:
            if data is not None:
                return msgspec.json.decode(data, type=ApprovalDecision)
        except msgspec.DecodeError:
            pass
        log.error("approval.ignored", approval=approval_id, reason="it does not carry the gateway's MAC")
        return None

    def _deliver(
        self, name: str, sealed: bytes, held: HeldMessage, decision: ApprovalDecision | None, now: int
    ) -> None:
        facts, delivery = held.facts, held.delivery
        transit = self._checked_again(facts, delivery, now)
        if transit.decision.is_delivered:
            self._breakers.deliver(delivery)
            self._outbound.deliver(lane_of(delivery.priority), delivery)
            found = facts.decision if transit.decision is Decision.ALLOWED else transit.decision
            reason = decision.reason if decision else ""
            self._conclude("approval.approved", facts, found, reason, decision, now)
        elif transit.decision in PASSING:
            if transit.decision is Decision.BACKPRESSURE:
                self.full.add(facts.target)
            again = now + max(TRY_AGAIN_MS, int(transit.retry_after * 1000))
            self._wait(name, min(again, facts.expires_at), sealed)
        else:
            self._conclude("approval.approved", facts, transit.decision, transit.reason, decision, now)

    def _checked_again(self, facts: HeldFacts, delivery: Delivery, now: int) -> Transit:
        transit = self._second_look.again(
            delivery, now, instance=facts.instance, key_id=facts.key_id, is_encrypted=facts.is_encrypted
        )
        if transit.decision.is_delivered and transit.hold_rule not in ("", facts.rule):
            transit.end(
                Verdict(
                    Decision.DENIED,
                    f"Authorization denied: it was approved as held by rule {facts.rule}, and rule "
                    f"{transit.hold_rule} holds it now",
                    transit.hold_rule,
                )
            )
        elif transit.decision.is_delivered and transit.data != delivery.data:
            transit.end(Verdict(Decision.BLOCKED, "the policy wants more taken out of the payload by now"))
        return transit

    def _wait(self, name: str, due: int, sealed: bytes) -> None:
        self._effects.append(lambda commit: commit.add_later(name, due, sealed))

    def _end(self, approval_id: str) -> None:
        name = due_name(approval_id)
        self._ended[name] = None
        if len(self._ended) > MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._waiting = max(0, self._waiting - 1)
        fields = (item_field(approval_id), decision_field(approval_id))
        self._effects.append(lambda commit: commit.end_hold(name, fields))

    def _conclude(
        self,
        kind: str,
        facts: HeldFacts,
        decision: Decision,
        reason: str,
        decided: ApprovalDecision | None,
        now: int,
    ) -> None:
        self._end(facts.approval_id)
        details: dict[str, object] = {"approval": facts.approval_id}
        if decided is not None and decided.reason and decided.reason != reason:
            details["approver_said"] = decided.reason
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
            actor=decided.by if decided is not None else "",
            details=details,
        )
        outcome = ApprovalOutcome(
            decision,
            reason,
            kind == "approval.approved" and decision.is_delivered,
            decided.approved if decided is not None else None,
            decided.by if decided is not None else "",
        )
        text = msgspec.json.encode(outcome)
        self._effects.append(lambda commit: commit.note_outcome(facts.approval_id, text))
