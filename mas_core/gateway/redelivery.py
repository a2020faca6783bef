"""Second chances: messages that were handed back are tried again later, or end as dead letters."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from mas_core.errors import DecryptionFailed
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.burned_starts import burned_starts
from mas_core.gateway.controls import NackData, read_control
from mas_core.gateway.dead_letters import DeadLetters
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.transit import Transit, Verdict
from mas_core.model.dead_letter import MAX_ATTEMPTS_KEPT, begun_at
from mas_core.model.decision import Decision
from mas_core.model.frame import UNREADABLE
from mas_core.model.message import (
    POISON,
    REPEATED_DELIVERY,
    UNAUTHENTIC_DELIVERY,
    Attempt,
    Delivery,
    Envelope,
    Flag,
)
from mas_core.model.priority import lane_of
from mas_core.model.retry import RetryTerms
from mas_core.model.standing import ISOLATING
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit
from mas_core.store.lookups import Lookups

_ENTRY = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")

MAX_REMEMBERED = 10_000

REFUSALS = {
    UNAUTHENTIC_DELIVERY: "somebody else than a gateway put it into the inbox",
    REPEATED_DELIVERY: "somebody put it into the inbox a second time",
}
"""Why an agent takes a frame for not meant by the gateway, and it leaves the inbox unhandled."""

_DELIVERY_DECODER = msgspec.msgpack.Decoder(Delivery)


class Redelivery:
    """Retries of one partition; `effects` gets what must be committed.

    `terms` count for agents that do not say when their messages are to come again. What an agent says is about
    its own messages only, and within the bounds of `RetryTerms`.
    """

    def __init__(
        self,
        directory: Directory,
        at_rest: AtRest,
        ledger: Ledger,
        outbound: Outbound,
        breakers: Breakers,
        dead_letters: DeadLetters,
        effects: list[Callable[[Commit], None]],
        terms: RetryTerms,
    ) -> None:
        self._directory = directory
        self._at_rest = at_rest
        self._ledger = ledger
        self._outbound = outbound
        self._breakers = breakers
        self._dead_letters = dead_letters
        self._effects = effects
        self._terms = terms
        self._delivered: dict[str, None] = {}

    def ask(self, agent_id: str, envelope: Envelope, lookups: Lookups) -> None:
        """Ask for the frame that a handed-back message is in."""
        try:
            nack = read_control(envelope.data, NackData)
        except msgspec.DecodeError:
            return
        if _is_entry(nack.entry):
            lookups.inbox_frame(agent_id, nack.lane, nack.entry)
            if self._breakers.enabled:
                lookups.handled_messages(agent_id)

    def hand_back(self, transit: Transit, lookups: Lookups) -> Verdict:
        """An agent could not handle a message: try it again later, or keep it as a dead letter.

        Raises:
            msgspec.DecodeError: Its message cannot be read.
        """
        nack = read_control(transit.envelope.data, NackData)
        agent_id, now = transit.sender, transit.now
        place = (agent_id, nack.lane, nack.entry)
        frame = lookups.inbox_frames.get(place)
        if frame is None or lookups.inbox_marks.get(place, "")[nack.position : nack.position + 1] == "x":
            return Verdict(Decision.ALLOWED, "the message is settled already")
        if lookups.inbox_holders.get(place) != transit.instance:
            return Verdict(Decision.DENIED, "the message is not in the hands of this instance any more")
        if nack.code in REFUSALS:
            return self._refuse(transit, nack, nack.code)
        try:
            deliveries = self._directory.open_delivered(agent_id, nack.lane, frame)
            delivery = deliveries[nack.position]
        except (DecryptionFailed, *UNREADABLE):
            return self._refuse(transit, nack, UNAUTHENTIC_DELIVERY)
        except IndexError:
            return Verdict(Decision.INVALID, "the frame that this names has fewer messages")
        handled = lookups.handled.get(agent_id)
        self._breakers.failed(agent_id, delivery.sender, delivery.id, nack.code, handled, now)
        reason = f"{nack.code}: {nack.reason}"[:500]
        failed = burned_starts(
            lookups.inbox_starts.get(place, ""), nack.position, transit.instance, delivery.attempt
        )
        if nack.code != POISON or not failed:
            number = delivery.attempt + len(failed)
            failed.append(Attempt(number, now, nack.code[:64], nack.reason[:200], transit.instance))
        delivery.attempt = failed[-1].number
        delivery.history = (*delivery.history, *failed)[-MAX_ATTEMPTS_KEPT:]
        due = 0 if nack.is_spent else self._due(delivery, nack, now)
        if nack.is_spent:
            self._record(
                "delivery.dropped", delivery, now, f"{reason}; it is handled at most once, so never again"
            )
        elif due:
            delivery.attempt += 1
            # Unique for every delivery: the id of a message can come again, its place in the inbox cannot.
            name = f"{agent_id}:{nack.lane}:{nack.entry}:{nack.position}"
            body = self._at_rest.seal("later", msgspec.msgpack.encode(delivery))
            self._effects.append(lambda commit: commit.add_later(name, due, body))
            self._record("delivery.retry", delivery, now, reason)
        else:
            self._dead_letters.bury(delivery, now, nack.code, reason)
        self._effects.append(
            lambda commit: commit.settle(agent_id, nack.lane, nack.entry, len(deliveries), nack.position)
        )
        return Verdict(Decision.ALLOWED, "")

    def _due(self, delivery: Delivery, nack: NackData, now: int) -> int:
        """When to try it again, in Unix milliseconds; 0 for not at all."""
        terms = nack.retry or self._terms
        # Whether its time is over is told by the server's clock, not by the one of whoever hands it back.
        is_premature = nack.code == "expired" and now <= delivery.expires_at
        if not (nack.retryable or is_premature) or delivery.attempt >= terms.attempts:
            return 0
        due = now + max(terms.delay_ms(delivery.attempt, delivery.id), nack.wait_ms)
        if terms.max_elapsed_ms and due > begun_at(delivery) + terms.max_elapsed_ms:
            return 0
        # What expires before that becomes a dead letter as soon as it does.
        return max(now, min(due, delivery.expires_at + 1))

    def deliver_again(self, name: str, body: bytes, now: int) -> None:
        """Deliver a message that was kept until now."""
        if name in self._delivered:
            # It was asked for again before the commit that took it away.
            return
        try:
            delivery = _DELIVERY_DECODER.decode(self._at_rest.open("later", body))
        except (DecryptionFailed, *UNREADABLE):
            self._take_away(name)
            self._ledger.record_event(
                "delivery.dead", now, reason="a message kept for later cannot be read", details={"name": name}
            )
            return
        if now > delivery.expires_at:
            self._dead_letters.bury(
                delivery, now, "expired", "its time to live ended before the next attempt"
            )
        elif (standing := self._directory.policy.standings.get(delivery.target)) is not None and (
            standing.kind in ISOLATING
        ):
            reason = f"{delivery.target} was {standing.kind} before the next attempt"
            self._dead_letters.bury(delivery, now, "quarantined", reason)
        elif (
            block := self._directory.access.block_between(delivery.sender, delivery.target, now)
        ) is not None:
            reason = f"Authorization denied: {block.id} came before the next attempt"
            self._dead_letters.bury(delivery, now, "denied", reason)
        elif not self._directory.is_registered(delivery.target):
            self._dead_letters.bury(
                delivery, now, "not_found", f"Agent not found: {delivery.target} was removed meanwhile"
            )
        elif wait := self._breakers.postponed_ms(delivery, now):
            due = min(now + wait, delivery.expires_at + 1)
            self._effects.append(lambda commit: commit.add_later(name, due, body))
            return
        else:
            expects_reply = bool(delivery.flags & Flag.EXPECTS_REPLY)
            self._breakers.passes(
                delivery.sender, delivery.target, delivery.id, now, expects_reply=expects_reply
            )
            self._breakers.deliver(delivery)
            self._outbound.deliver(lane_of(delivery.priority), delivery)
        self._take_away(name)

    def _take_away(self, name: str) -> None:
        self._delivered[name] = None
        if len(self._delivered) > MAX_REMEMBERED:
            del self._delivered[next(iter(self._delivered))]
        self._effects.append(lambda commit: commit.remove_later(name))

    def _refuse(self, transit: Transit, nack: NackData, code: str) -> Verdict:
        """Take a frame out of an inbox that no gateway put there, and record that it was there."""
        agent_id = transit.sender
        self._effects.append(lambda commit: commit.drop_delivery(agent_id, nack.lane, nack.entry))
        self._ledger.record_event(
            "delivery.refused",
            transit.now,
            decision=Decision.REPLAYED if code == REPEATED_DELIVERY else Decision.UNAUTHENTICATED,
            reason=f"{code}: {REFUSALS[code]}",
            target=agent_id,
            instance=transit.instance,
            details={"lane": nack.lane, "entry": nack.entry},
        )
        return Verdict(Decision.ALLOWED, "")

    def _record(self, kind: str, delivery: Delivery, now: int, reason: str) -> None:
        self._ledger.record_event(
            kind,
            now,
            reason=reason,
            sender=delivery.sender,
            target=delivery.target,
            message_type=delivery.type,
            message_id=delivery.id,
            details={"attempt": delivery.attempt},
        )


def _is_entry(entry: str) -> bool:
    found = _ENTRY.fullmatch(entry)
    return found is not None and all(int(number) < 2**64 for number in found.groups())
