"""Answers the messages that agents' runtimes send to the gateway itself, within a budget for each agent."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from mas_core.base.ids import GATEWAY, partition_of
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.control_budget import ControlBudget
from mas_core.gateway.controls import OutcomeData, read_control
from mas_core.gateway.key_answers import KeyAnswers
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.presence import Presence
from mas_core.gateway.redelivery import Redelivery
from mas_core.gateway.rehearsal import Rehearsals, read_rehearsal
from mas_core.gateway.subscribing import Subscribing
from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.json_text import misfit
from mas_core.model.message import (
    ATTACH,
    BEAT,
    CONTROL_TYPES,
    DETACH,
    DISCOVER,
    KEYS,
    NACK,
    OUTCOME,
    REHEARSE,
    WAYS,
    Envelope,
)
from mas_core.model.topic import REPORT, SUBSCRIBE
from mas_core.store.lookups import Lookups

VITAL_TYPES = frozenset({ATTACH, BEAT, DETACH, NACK})
"""Without these an agent is not there or loses messages, so the others leave a part of the budget to them."""


class ControlDesk:
    """Control messages of one partition's agents."""

    def __init__(
        self,
        presence: Presence,
        redelivery: Redelivery,
        rehearsals: Rehearsals,
        key_answers: KeyAnswers,
        subscribing: Subscribing,
        breakers: Breakers,
        ledger: Ledger,
        budget: ControlBudget,
        *,
        partition: int,
        partitions: int,
    ) -> None:
        self._presence = presence
        self._redelivery = redelivery
        self._rehearsals = rehearsals
        self._key_answers = key_answers
        self._subscribing = subscribing
        self._breakers = breakers
        self._ledger = ledger
        self._budget = budget
        self._partition = partition
        self._partitions = partitions

    def needs_registry(self, frames: Sequence[OpenedFrame], now: int) -> bool:
        """Whether a message in the batch asks who is there, and will be answered."""
        return any(
            envelope.target == GATEWAY and envelope.type in (DISCOVER, WAYS)
            for frame in frames
            if GATEWAY in frame.targets
            and frame.session is not None
            and self._budget.has_room(frame.session.agent_id, now, is_vital=False)
            for envelope in frame.envelopes or ()
        )

    def ask(self, sender: str, envelope: Envelope, lookups: Lookups, targets: set[str], now: int) -> None:
        """Ask what answering this message needs; `targets` gets the agents whose inboxes must be known."""
        if not self._budget.has_room(sender, now, is_vital=envelope.type in VITAL_TYPES):
            return
        if envelope.type != REHEARSE and partition_of(sender, self._partitions) != self._partition:
            return
        if envelope.type == NACK:
            self._redelivery.ask(sender, envelope, lookups)
        elif envelope.type == OUTCOME and self._breakers.enabled:
            lookups.handled_messages(sender)
        elif envelope.type == REHEARSE:
            with contextlib.suppress(msgspec.DecodeError):
                rehearsed = read_rehearsal(envelope.data)
                targets.add(rehearsed.target)
                self._rehearsals.ask(sender, rehearsed, lookups)

    def answer(self, transit: Transit, lookups: Lookups, batch: Surroundings) -> Verdict:
        """Do what the message says, or tell why not.

        What hands a delivered message back is bounded by the deliveries and does not count.
        """
        message_type, sender, now = transit.envelope.type, transit.sender, transit.now
        if not self._budget.take(sender, now, is_vital=message_type in VITAL_TYPES):
            return self._too_much(transit)
        if message_type not in CONTROL_TYPES:
            return Verdict(Decision.INVALID, "the gateway takes no messages of this type")
        try:
            if message_type == REHEARSE:
                rehearsed = read_rehearsal(transit.envelope.data)
                if partition_of(rehearsed.target, self._partitions) != self._partition:
                    return Verdict(Decision.INVALID, "the target belongs to another partition")
                return self._rehearsals.rehearse(transit, rehearsed, lookups, batch)
            if message_type == SUBSCRIBE:
                return self._subscribing.subscribe(transit)
            if message_type == REPORT:
                return self._subscribing.report(transit)
            if partition_of(sender, self._partitions) != self._partition:
                return Verdict(Decision.INVALID, "this belongs to the partition of the agent")
            if message_type == NACK:
                verdict = self._redelivery.hand_back(transit, lookups)
                if verdict.decision is Decision.ALLOWED and not verdict.reason:
                    self._budget.give_back(sender, now)
                return verdict
            if message_type == KEYS:
                return self._key_answers.answer(transit)
            if message_type == OUTCOME:
                data = read_control(transit.envelope.data, OutcomeData)
                handled = lookups.handled.get(sender)
                self._breakers.told(sender, data.sender, data.message_id, data.code, handled, now)
                return Verdict(Decision.ALLOWED, "")
            if message_type == DISCOVER:
                return self._presence.discover(transit)
            if message_type == WAYS:
                return self._presence.tell_ways(transit)
            return self._presence.tell(transit)
        except msgspec.DecodeError as error:
            return Verdict(Decision.INVALID, f"the gateway cannot read this: {misfit(error)}")

    def _too_much(self, transit: Transit) -> Verdict:
        sender, now = transit.sender, transit.now
        reason = f"Rate limit exceeded: {sender} asks too much of the gateway itself"
        if self._budget.is_news(sender, now):
            self._ledger.record_event(
                "control",
                now,
                decision=Decision.RATE_LIMITED,
                reason=reason,
                sender=sender,
                instance=transit.instance,
            )
        is_vital = transit.envelope.type in VITAL_TYPES
        retry_after = self._budget.retry_after(sender, now, is_vital=is_vital)
        return Verdict(Decision.RATE_LIMITED, reason, retry_after=retry_after)
