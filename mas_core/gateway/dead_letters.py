"""Dead letters of a partition: kept whole and sealed, and what operators order about them is carried out.

Operators write orders and nothing else; the owner finds them among what is due. A retry passes every check
again, is delivered and taken out of the dead letters in one commit, so it is delivered once however often it
is ordered. What an operator drops can be restored for a day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from mas_core.base.logs import get_logger
from mas_core.errors import DecryptionFailed, InvalidPayload
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.second_look import SecondLook, note_change
from mas_core.gateway.transit import Transit, Verdict
from mas_core.model.dead_letter import (
    DROPPED_MS,
    END_PREFIX,
    MAX_ATTEMPTS_KEPT,
    ORDER_COUNTS_MS,
    ORDER_PREFIX,
    RETRIED,
    LetterEnd,
    LetterFacts,
    LetterOrder,
    OrderOutcome,
    begun_at,
    due_purpose,
    facts_purpose,
    letter_id,
    outcome_purpose,
    seal_purpose,
)
from mas_core.model.decision import Decision
from mas_core.model.frame import UNREADABLE
from mas_core.model.json_text import parse_and_rewrite
from mas_core.model.message import Attempt, Delivery, Flag
from mas_core.model.priority import lane_of
from mas_core.registry.signed import signed, verified
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit
from mas_core.store.stored import StoredLetter
from mas_core.store.wire import Argument

log = get_logger(__name__)

MAX_REMEMBERED = 10_000
COMMITTED_MS = 10_000
"""A commit is through or lost by then, so what is still due without a body was put there by somebody."""
ASK_AGAIN_MS = 100
"""How long a retry waits until it is known how full the inbox really is."""
_NONCE_BYTES = 12

_DELIVERY = msgspec.msgpack.Decoder(Delivery)
_ORDER = msgspec.msgpack.Decoder(LetterOrder)
_END = msgspec.msgpack.Decoder(LetterEnd)
_FACTS = msgspec.json.Decoder(LetterFacts)


@dataclass(frozen=True, slots=True)
class _Errand:
    """An order that is being carried out."""

    name: str
    sealed: bytes
    order: LetterOrder
    facts: LetterFacts | None
    entry: str
    now: int


class DeadLetters:
    """What one partition has given up; `effects` gets what must be committed."""

    def __init__(
        self,
        directory: Directory,
        keys: GatewayKeys,
        at_rest: AtRest,
        ledger: Ledger,
        outbound: Outbound,
        breakers: Breakers,
        second_look: SecondLook,
        effects: list[Callable[[Commit], None]],
        *,
        partition: int,
        full: set[str],
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._at_rest = at_rest
        self._ledger = ledger
        self._outbound = outbound
        self._breakers = breakers
        self._second_look = second_look
        self._effects = effects
        self._partition = partition
        self._full = full
        self._taken: dict[str, tuple[bytes, int]] = {}
        """What was due and is carried out, and when: asked for early, it comes again before its commit."""
        self._postponed: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._delivered: dict[int, None] = {}
        """Numbers of the dead letters that were delivered again: whoever writes to the server can copy one."""

    def bury(self, delivery: Delivery, now: int, code: str, reason: str) -> None:
        """Give a message up: keep it whole, with why and every attempt."""
        facts = LetterFacts(
            self._ledger.seq + 1,
            delivery.id,
            delivery.sender,
            delivery.target,
            delivery.type,
            len(delivery.data),
            code[:64],
            reason,
            delivery.attempt,
            now,
            delivery.accepted_at,
            delivery.history,
            bool(delivery.flags & Flag.EXPECTS_REPLY),
            bool(delivery.flags & Flag.ENCRYPTED),
            delivery.priority,
        )
        text = signed(self._keys, facts_purpose(self._partition), msgspec.json.encode(facts))
        body = self._at_rest.seal(seal_purpose(self._partition, facts.seq), msgspec.msgpack.encode(delivery))
        fields: dict[str, Argument] = {"message_id": delivery.id, "facts": text, "body": body}
        self._effects.append(lambda commit: commit.add_dead_letter(fields))
        self._ledger.record_event(
            "delivery.dead",
            now,
            reason=reason,
            sender=delivery.sender,
            target=delivery.target,
            message_type=delivery.type,
            message_id=delivery.id,
            details={"attempt": delivery.attempt},
        )

    def carry_out(self, name: str, sealed: bytes, letter: StoredLetter | None, now: int) -> None:
        """Carry an operator's order out, or record why not."""
        if not self._take(name, sealed, now):
            return
        entry = name.removeprefix(ORDER_PREFIX)
        try:
            order = _ORDER.decode(self._at_rest.open(due_purpose(self._partition, name), sealed))
        except (DecryptionFailed, *UNREADABLE):
            reason = (
                "the order was not written with the gateway's keys, or was changed: it counts for nothing"
            )
            self._record("dlq.refused", None, None, entry, now, Decision.UNAUTHENTICATED, reason)
            return
        opened = self._opened(letter) if letter is not None else None
        errand = _Errand(name, sealed, order, opened[0] if opened else None, entry, now)
        if letter is None or entry in self._gone:
            self._refuse(errand, Decision.NOT_FOUND, "the dead letter is not there any more")
        elif abs(now - order.at) > ORDER_COUNTS_MS:
            reason = (
                "nobody carried the order out in time, or somebody played it back: it does not count any more"
            )
            self._refuse(errand, Decision.EXPIRED, reason)
        elif order.act == "restore":
            self._restore(errand)
        elif letter.dropped_until:
            self._refuse(errand, Decision.INVALID, "the dead letter is dropped: restore it first")
        elif order.act == "drop":
            self._drop(errand)
        elif opened is None:
            reason = "the dead letter cannot be read: no gateway of this system wrote it, or it was changed"
            self._refuse(errand, Decision.INVALID, reason)
        else:
            self._retry(errand, *opened)

    def end(self, name: str, sealed: bytes, letter: StoredLetter | None, now: int) -> None:
        """The time in which a dropped dead letter could be restored is over."""
        if not self._take(name, sealed, now):
            return
        entry = name.removeprefix(END_PREFIX)
        try:
            end = _END.decode(self._at_rest.open(due_purpose(self._partition, name), sealed))
        except (DecryptionFailed, *UNREADABLE):
            log.error("dead_letter.end_ignored", entry=entry, reason="no gateway of this system wrote it")
            return
        if letter is None or not letter.dropped_until or entry in self._gone:
            return
        if now < end.at:
            self._wait(name, sealed, end.at)
            return
        opened = self._opened(letter)
        self._remove(entry)
        reason = "it was dropped and nobody restored it in time"
        self._record("dlq.ended", None, opened[0] if opened else None, entry, now, "", reason)

    def _retry(self, errand: _Errand, facts: LetterFacts, delivery: Delivery) -> None:
        order, now = errand.order, errand.now
        if facts.seq in self._delivered:
            reason = "it is a copy of a dead letter that was delivered again already"
            self._refuse(errand, Decision.REPLAYED, reason)
            return
        is_answer_awaited = now < delivery.expires_at
        delivery.expires_at = now + max(1, delivery.expires_at - begun_at(delivery))
        before = delivery.data
        try:
            if order.data is not None:
                delivery.data = self._edited(order.data, facts)
        except InvalidPayload as error:
            # A text of the payload must not get into the audit, not even the name of a key.
            reason = "an object has the same key twice" if "key" in error.details else error.message
            self._refuse(errand, Decision.INVALID, reason)
            return
        transit = self._second_look.transit_of(delivery, now, is_encrypted=facts.is_encrypted)
        if self._directory.has_key(delivery.sender):
            self._second_look.check(transit)
        else:
            reason = (
                f"Authentication failed: {delivery.sender} is not there any more, or has no token that counts"
            )
            transit.end(Verdict(Decision.UNAUTHENTICATED, reason))
        if not transit.decision.is_delivered:
            if transit.decision is not Decision.BACKPRESSURE or not self._postpone(errand, delivery.target):
                self._refuse(errand, transit.decision, transit.reason, transit)
            return
        if transit.hold_rule and not order.approves:
            reason = f"rule {transit.hold_rule} holds it until somebody approves it"
            self._refuse(errand, Decision.HELD, reason, transit)
            return
        delivery.data = transit.data
        if delivery.data != before:
            note_change(
                delivery, before, "edited by an operator" if order.data is not None else transit.reason
            )
        delivery.attempt = 1
        delivery.history = (*delivery.history, Attempt(0, now, RETRIED))[-MAX_ATTEMPTS_KEPT:]
        if not is_answer_awaited:
            delivery.flags &= ~Flag.EXPECTS_REPLY
            delivery.capsule = b""
        self._breakers.deliver(delivery)
        self._outbound.deliver(lane_of(delivery.priority), delivery)
        self._remove(errand.entry)
        self._delivered[facts.seq] = None
        _bound(self._delivered)
        self._conclude("dlq.retried", errand, transit.decision, transit)

    def _postpone(self, errand: _Errand, target: str) -> bool:
        """Wait, once, until the true backlog is known: what is counted here is an upper bound."""
        if errand.order.id in self._postponed:
            return False
        self._postponed[errand.order.id] = None
        _bound(self._postponed)
        self._full.add(target)
        self._wait(errand.name, errand.sealed, errand.now + ASK_AGAIN_MS)
        return True

    def _wait(self, name: str, sealed: bytes, due: int) -> None:
        del self._taken[name]
        self._effects.append(lambda commit: commit.add_later(name, due, sealed))

    def _edited(self, data: bytes, facts: LetterFacts) -> bytes:
        if facts.is_encrypted:
            raise InvalidPayload(
                f"the payload is encrypted for {facts.target}: only its sender can change it"
            )
        value, text = parse_and_rewrite(data, max_bytes=self._directory.max_payload_bytes)
        if not isinstance(value, dict):
            raise InvalidPayload("the payload is not an object")
        return text

    def _drop(self, errand: _Errand) -> None:
        entry, until = errand.entry, errand.now + DROPPED_MS
        name = f"{END_PREFIX}{entry}"
        body = self._at_rest.seal(
            due_purpose(self._partition, name), msgspec.msgpack.encode(LetterEnd(until))
        )
        self._effects.append(lambda commit: commit.drop_dead_letter(entry, until))
        self._effects.append(lambda commit: commit.add_later(name, until, body))
        self._conclude("dlq.dropped", errand)

    def _restore(self, errand: _Errand) -> None:
        entry = errand.entry
        self._effects.append(lambda commit: commit.restore_dead_letter(entry))
        self._effects.append(lambda commit: commit.remove_later(f"{END_PREFIX}{entry}"))
        self._conclude("dlq.restored", errand)

    def _conclude(
        self, kind: str, errand: _Errand, decision: str = "", transit: Transit | None = None
    ) -> None:
        """Record what was done, and tell whoever ordered it."""
        order = errand.order
        self._record(kind, order, errand.facts, errand.entry, errand.now, decision, order.note, transit)
        self._tell(order, OrderOutcome(True, decision, transit.reason if transit is not None else ""))

    def _refuse(
        self, errand: _Errand, decision: Decision, reason: str, transit: Transit | None = None
    ) -> None:
        order = errand.order
        self._record("dlq.refused", order, errand.facts, errand.entry, errand.now, decision, reason, transit)
        self._tell(order, OrderOutcome(False, decision, reason))

    def _tell(self, order: LetterOrder, outcome: OrderOutcome) -> None:
        text = signed(self._keys, outcome_purpose(order.id), msgspec.json.encode(outcome))
        self._effects.append(lambda commit: commit.note_letter_order(order.id, text))

    def _take(self, name: str, sealed: bytes, now: int) -> bool:
        """Whether this is new; from now on it is not, and leaves what is due."""
        nonce = sealed[:_NONCE_BYTES]
        known, at = self._taken.get(name, (b"", 0))
        if known and (nonce == known or (not nonce and now - at < COMMITTED_MS)):
            return False
        self._taken[name] = (nonce, now)
        _bound(self._taken)
        self._effects.append(lambda commit: commit.remove_later(name))
        return True

    def _remove(self, entry: str) -> None:
        self._gone[entry] = None
        _bound(self._gone)
        self._effects.append(lambda commit: commit.remove_dead_letter(entry))

    def _opened(self, letter: StoredLetter) -> tuple[LetterFacts, Delivery] | None:
        text = verified(self._keys, facts_purpose(self._partition), letter.facts)
        try:
            if text is not None:
                facts = _FACTS.decode(text)
                sealed = self._at_rest.open(seal_purpose(self._partition, facts.seq), letter.body)
                return facts, _DELIVERY.decode(sealed)
        except (DecryptionFailed, *UNREADABLE):
            pass
        return None

    def _record(
        self,
        kind: str,
        order: LetterOrder | None,
        facts: LetterFacts | None,
        entry: str,
        now: int,
        decision: str,
        reason: str,
        transit: Transit | None = None,
    ) -> None:
        details: dict[str, object] = {"dead_letter": letter_id(self._partition, entry)}
        if order is not None and kind == "dlq.refused":
            details["order"] = order.act
            if order.note:
                details["operator_said"] = order.note
        if order is not None and order.data is not None:
            details |= {"edited": True, "payload_hmac": self._keys.payload_hmac(order.data)}
        if transit is not None and transit.findings:
            details["findings"] = sorted({finding.rule for finding in transit.findings})
        if transit is not None and transit.hold_rule and kind == "dlq.retried":
            details["approved_for"] = transit.hold_rule
        self._ledger.record_event(
            kind,
            now,
            decision=decision,
            reason=reason,
            sender=facts.sender if facts else "",
            target=facts.target if facts else "",
            message_type=facts.type if facts else "",
            message_id=facts.message_id if facts else "",
            actor=order.by if order is not None else "",
            details=details,
        )


def _bound(memory: dict[Any, Any]) -> None:
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]
