"""Answers those who subscribe to topics: which there are, and the keys of those that they may read.

A key is given away in the commit that remembers who has it, so that it is known whose permission it depends on.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from mas_core.base.ids import GATEWAY, new_message_id
from mas_core.base.resources import RESOURCE_PATTERN, matches_name
from mas_core.gateway.controls import read_control
from mas_core.gateway.directory import Directory
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.stages.check_standing import isolated
from mas_core.gateway.stages.check_topic import topics_unreadable
from mas_core.gateway.subscriptions import Subscriptions
from mas_core.gateway.topic_readers import TopicReaders
from mas_core.gateway.topic_records import TopicRecords, durable_field
from mas_core.gateway.transit import Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import UNAUTHENTIC_DELIVERY, Delivery, Flag
from mas_core.model.standing import ISOLATING
from mas_core.model.topic import (
    MAX_TOLD,
    NEWS,
    TOPIC,
    DurableSubscription,
    ReportData,
    SubscribeData,
    Told,
    ToldTopic,
)
from mas_core.store.commits import Commit

ANSWER_TTL_MS: Final = 60_000
MAX_REPORTED: Final = 1_000
MAX_DURABLE: Final = 10_000
"""Places in logs, by pattern, that agents may keep in one partition."""
MAX_DURABLE_OF_AGENT: Final = 200
MAX_REMEMBERED: Final = 10_000


class Subscribing:
    """The subscribers of one partition's topics; parameters as of `Topics`."""

    def __init__(
        self,
        is_readable: bool,
        directory: Directory,
        ledger: Ledger,
        outbound: Outbound,
        effects: list[Callable[[Commit], None]],
        records: TopicRecords,
        readers: TopicReaders,
        subscriptions: Subscriptions,
    ) -> None:
        self._is_readable = is_readable
        self._directory = directory
        self._ledger = ledger
        self._outbound = outbound
        self._effects = effects
        self._records = records
        self._readers = readers
        self._subscriptions = subscriptions
        self._reported: set[tuple[str, str, str]] = set()
        self._refused: set[tuple[str, str, str]] = set()

    def subscribe(self, transit: Transit) -> Verdict:
        """Answer with the topics that match and that the agent may read, and with their keys.

        Raises:
            msgspec.DecodeError: The question cannot be read.
        """
        agent, now = transit.sender, transit.now
        standing = self._directory.policy.standings.get(agent)
        if standing is not None and standing.kind in ISOLATING:
            return isolated(agent, standing)
        if not self._is_readable:
            return topics_unreadable()
        data = read_control(transit.envelope.data, SubscribeData)
        patterns = tuple(dict.fromkeys((*data.live, *data.durable)))
        for pattern in (*patterns, *data.forget):
            if not RESOURCE_PATTERN.fullmatch(f"{TOPIC}:{pattern}"):
                return Verdict(Decision.INVALID, "this is no pattern for topics")
        told = Told(now=now)
        for pattern in patterns:
            refusal = self._readers.refusal(agent, pattern, now)
            if refusal is not None:
                told.refused[pattern] = refusal
        allowed = tuple(pattern for pattern in patterns if pattern not in told.refused)
        for pattern in data.forget:
            self._forget_place(agent, pattern)
        for pattern in data.durable:
            if pattern in allowed and not self._keep_place(agent, pattern, told):
                reason = "too many places in logs are kept, by this agent or by all"
                return Verdict(Decision.BACKPRESSURE, reason, "too_many_places")
        changed = self._subscriptions.set(agent, transit.instance, allowed, now)
        self._records.recounted.update(
            name for name in self._records.logs if any(matches_name(pattern, name) for pattern in changed)
        )
        names = sorted(
            name
            for name in self._records.logs
            if name > data.after and any(matches_name(pattern, name) for pattern in allowed)
        )
        readable = [name for name in names if self._readers.may_read(agent, name, now)]
        if len(readable) > MAX_TOLD:
            readable = readable[:MAX_TOLD]
            told.more = readable[-1]
        told.topics = self._give_keys(agent, transit.instance, readable, now)
        for pattern, reasons in told.refused.items():
            if not self._is_first(agent, transit.instance, pattern):
                continue
            self._ledger.record_event(
                "topic.subscribe",
                now,
                decision=Decision.DENIED,
                reason=reasons[0],
                sender=agent,
                target=f"{TOPIC}:{pattern}",
                instance=transit.instance,
            )
        self._answer(transit.instance, agent, f"{TOPIC}.subscribed", told, now, transit.envelope.id)
        return Verdict(Decision.ALLOWED, "")

    def _is_first(self, agent: str, instance: str, pattern: str) -> bool:
        """Whether this is refused for the first time: instances ask again and again."""
        refusal = (agent, instance, pattern)
        if refusal in self._refused:
            return False
        if len(self._refused) >= MAX_REMEMBERED:
            self._refused.clear()
        self._refused.add(refusal)
        return True

    def _keep_place(self, agent: str, pattern: str, told: Told) -> bool:
        place = self._records.durable.get((agent, pattern))
        if place is None:
            own = sum(keeper == agent for keeper, _ in self._records.durable)
            if own >= MAX_DURABLE_OF_AGENT or len(self._records.durable) >= MAX_DURABLE:
                return False
            place = DurableSubscription(agent, pattern, told.now)
            self._records.durable[agent, pattern] = place
            record = self._records.durable_text(place)
            self._effects.append(lambda commit: commit.set_topic(*record))
        told.since[pattern] = place.since
        return True

    def _forget_place(self, agent: str, pattern: str) -> None:
        if self._records.durable.pop((agent, pattern), None) is not None:
            self._effects.append(lambda commit: commit.set_topic(durable_field(agent, pattern), None))

    def _give_keys(self, agent: str, instance: str, names: Sequence[str], now: int) -> list[ToldTopic]:
        holders = self._readers.holders(agent, now)
        told, given = [], []
        for name in names:
            record = self._records.logs[name].record
            new = [holder for holder in holders if holder not in record.readers]
            if new:
                record.readers.update(dict.fromkeys(new, now))
                self._records.changed.add(name)
                given.append(name)
            told.append(
                ToldTopic(
                    name,
                    record.created,
                    self._records.logs[name].status.last,
                    {str(item.number): base64.b64encode(item.key).decode() for item in record.generations},
                )
            )
        if given:
            self._ledger.record_event(
                "topic.key",
                now,
                decision=Decision.ALLOWED,
                reason="the keys of topics were given to a subscriber",
                sender=agent,
                instance=instance,
                details={"topics": given[:100], "count": len(given)},
            )
        return told

    def tell_news(self, name: str, now: int) -> None:
        """Tell subscribers of a topic that has appeared, or of its new key."""
        for subscriber in list(self._subscriptions.of(name)):
            if self._readers.may_read(subscriber.agent, name, now):
                topics = self._give_keys(subscriber.agent, subscriber.instance, [name], now)
                # What the batch itself publishes comes after it.
                self._answer(subscriber.instance, subscriber.agent, NEWS, Told(topics, now), now)

    def _answer(
        self, instance: str, agent: str, message_type: str, told: Told, now: int, request: str = ""
    ) -> None:
        self._outbound.answer(
            instance,
            Delivery(
                f"{request}.reply" if request else new_message_id(),
                GATEWAY,
                agent,
                message_type,
                msgspec.json.encode(told),
                now,
                now + ANSWER_TTL_MS,
                flags=Flag.IS_REPLY,
                correlation=request,
            ),
        )

    def report(self, transit: Transit) -> Verdict:
        """Record what a subscriber has found in a log, once for each of them.

        Raises:
            msgspec.DecodeError: It cannot be read.
        """
        data = read_control(transit.envelope.data, ReportData)
        resource = f"{TOPIC}:{data.topic}"
        if not self._readers.may_read(transit.sender, data.topic, transit.now):
            return Verdict(
                Decision.DENIED, f"Authorization denied: {transit.sender} does not read {resource}"
            )
        is_forged = data.code == UNAUTHENTIC_DELIVERY
        # All subscribers find the same forgery; what one cannot handle is its own.
        found = (data.topic, data.entry, "" if is_forged else f"{transit.sender} {data.message_id}")
        if found in self._reported:
            return Verdict(Decision.ALLOWED, "")
        if len(self._reported) >= MAX_REPORTED:
            self._reported.clear()
        self._reported.add(found)
        self._ledger.record_event(
            "topic.report",
            transit.now,
            decision=Decision.UNAUTHENTICATED if is_forged else "",
            reason="an entry of the log was not written by a gateway"
            if is_forged
            else "a message of the topic could not be handled",
            sender=transit.sender,
            target=resource,
            message_id=data.message_id,
            instance=transit.instance,
            details={"entry": data.entry, "code": data.code},
        )
        return Verdict(Decision.ALLOWED, "")
