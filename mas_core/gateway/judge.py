"""Judges a batch of opened frames: what is decided, recorded, delivered and answered.

Nothing here does I/O. What the judge must know it asks through `Lookups` beforehand; what it decides it puts
into one `Commit`. Between the two it changes only the owner's memory, which is thrown away when the commit
does not go through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mas_core.base.ids import GATEWAY, partition_of
from mas_core.coordination.machine import Command
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.control_budget import ControlBudget
from mas_core.gateway.control_desk import ControlDesk
from mas_core.gateway.decided_ids import DecidedIds, recurring_name
from mas_core.gateway.deliveries import delivery_of
from mas_core.gateway.directory import Directory
from mas_core.gateway.fences import Fences
from mas_core.gateway.frame_answers import FrameAnswers
from mas_core.gateway.frame_checks import FrameChecks
from mas_core.gateway.gathering import Gathering, JudgedBatch
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.kept_messages import KeptMessages
from mas_core.gateway.key_answers import KeyAnswers
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.places import Places, is_counted
from mas_core.gateway.presence import Presence
from mas_core.gateway.questions import Questions
from mas_core.gateway.rehearsal import Rehearsals
from mas_core.gateway.rerouting import turn_back
from mas_core.gateway.resources import Resources, of_resources
from mas_core.gateway.schedule import ScheduleBounds
from mas_core.gateway.screening import Screening
from mas_core.gateway.sessions import Session
from mas_core.gateway.stages.check_breaker import CheckBreaker
from mas_core.gateway.stages.check_fence import CheckFence
from mas_core.gateway.stages.check_inbox import CheckInbox
from mas_core.gateway.stages.check_topic import CheckTopic
from mas_core.gateway.stages.hold_for_approval import HoldForApproval
from mas_core.gateway.stages.hold_until_due import HoldUntilDue
from mas_core.gateway.stages.limit_totals import LimitTotals
from mas_core.gateway.topic_records import StoredTopics
from mas_core.gateway.topics import Topics
from mas_core.gateway.totals import Totals
from mas_core.gateway.tracing import GatewayTracing
from mas_core.gateway.transit import Stage, Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.delivery_mode import mode_of
from mas_core.model.frame import FrameHeader
from mas_core.model.message import Delivery, Envelope, Flag
from mas_core.model.priority import lane_of
from mas_core.model.retry import RetryTerms
from mas_core.model.topic import is_topic
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.store.commits import Commit
from mas_core.store.lookups import Lookups
from mas_core.store.resources import StoredResources

_ALLOWED = Decision.ALLOWED  # the members of an enum are slow to look up, and this one is asked for most


class Judge:
    """Passes messages through the stages and gathers what follows from them, for one partition."""

    def __init__(
        self,
        directory: Directory,
        keys: GatewayKeys,
        ledger: Ledger,
        outbound: Outbound,
        inboxes: Inboxes,
        breakers: Breakers,
        *,
        partition: int,
        partitions: int,
        layout: int,
        held: int,
        answers_after_commit: bool,
        places: Places,
        controls: ControlBudget,
        scheduled: Iterable[tuple[str, int]],
        resources: StoredResources,
        topics: StoredTopics,
        schedule_bounds: ScheduleBounds,
        retry: RetryTerms,
        frames_since: int = 0,
        tracing: GatewayTracing | None = None,
        former: Iterable[tuple[str, Command]] = (),
    ) -> None:
        self._tracing = tracing
        self._checks = FrameChecks(directory, ledger, frames_since)
        self._keys = keys
        self._ledger = ledger
        self._outbound = outbound
        self._inboxes = inboxes
        self._partition = partition
        self._partitions = partitions
        self._layout = layout
        self._breakers = breakers
        self._places = places
        totals = Totals(directory, inboxes) if directory.limits.totals else None
        self._effects: list[Callable[[Commit], None]] = []
        self._decided = DecidedIds(self._effects)
        self._gathering = Gathering(
            ledger,
            outbound,
            inboxes,
            breakers,
            self._decided,
            self._effects,
            partition=partition,
            partitions=partitions,
            answers_after_commit=answers_after_commit,
        )
        self._kept = KeptMessages(
            directory,
            keys,
            ledger,
            outbound,
            breakers,
            self._decided,
            self._effects,
            partition=partition,
            held=held,
            scheduled=scheduled,
            schedule_bounds=schedule_bounds,
            retry=retry,
        )
        self._resources = Resources(
            keys,
            ledger,
            outbound,
            self._effects,
            resources.records,
            directory.may_claim,
            signing_keys=directory,
            namespace=directory.namespace,
            former=former,
        )
        self._topics = Topics(directory, keys, ledger, outbound, self._effects, topics)
        fences = Fences(keys, resources.fences, self._effects)
        stages: tuple[Stage, ...] = (*directory.stages, CheckFence(fences))
        if totals:
            stages = (*stages, LimitTotals(totals))
        stages = (*stages, HoldUntilDue(self._kept.schedule))
        if any(rule.effect == "hold" for rule in directory.policy.rules):
            stages = (*stages, HoldForApproval(self._kept.approvals))
        if breakers.enabled:
            stages = (*stages, CheckBreaker(breakers))
        stages = (*stages, CheckTopic(self._topics), CheckInbox(inboxes))
        self._kept.use(stages)
        self._screening = Screening(stages)
        self._closed: Verdict | None = None
        self._answers = FrameAnswers(outbound, self._effects, partition)
        self._waiting: list[Transit] = []
        self._waiting_names: dict[str, Transit] = {}
        self._presence = Presence(directory, keys, ledger, outbound, inboxes, breakers, self._effects)
        self._has_looked_for_directives = self._has_directives = False
        self._desk = ControlDesk(
            self._presence,
            self._kept.redelivery,
            Rehearsals(stages, directory, totals, ledger, outbound),
            KeyAnswers(directory, outbound),
            self._topics.subscribing,
            breakers,
            ledger,
            controls,
            partition=partition,
            partitions=partitions,
        )
        self._questions = Questions(
            directory,
            inboxes,
            places,
            totals,
            self._decided,
            self._kept.approvals,
            self._desk,
            self._topics,
            partition=partition,
            partitions=partitions,
            layout=layout,
        )

    def _has_directives_for(self, now: int) -> bool:
        """Whether instances have to be told what an operator said, which a new judge looks for once."""
        if not self._has_looked_for_directives:
            self._has_looked_for_directives = True
            self._has_directives = self._presence.has_directives(now)
        return self._has_directives

    @property
    def stages_on(self) -> tuple[str, ...]:
        """The stages that messages pass because the policy wants them."""
        return self._screening.stages_on

    def alarms(self) -> list[str]:
        """What is wrong with what it knows of the partition, and needs an operator."""
        return [*self._resources.alarms, *self._topics.alarms]

    def waiting(self) -> list[tuple[str, Command]]:
        """Who waits for an answer of a resource: kind and command."""
        return self._resources.waiting()

    def is_due(self, now: int) -> bool:
        """Whether something has to be done though no message came."""
        return self._has_directives_for(now) or self._resources.is_due(now)

    def take_answers(self, lookups: Lookups) -> None:
        """Take over what was found, whether or not there is anything to judge."""
        self._topics.take_sizes(lookups)

    def needs_registry(self, frames: Sequence[OpenedFrame], now: int) -> bool:
        """Whether a message in the batch asks who is there."""
        return self._desk.needs_registry(frames, now)

    def ask(self, frames: Sequence[OpenedFrame], lookups: Lookups, now: int) -> None:
        """Ask everything that judging these frames needs; `now` may be a little behind."""
        self._questions.ask(frames, lookups, now)

    def judge(
        self,
        frames: Sequence[OpenedFrame],
        lookups: Lookups,
        commit: Commit,
    ) -> JudgedBatch:
        """Judge the frames in order and put everything that follows into `commit`."""
        for agent_id, counts in lookups.unsettled.items():
            self._inboxes.set_backlog(agent_id, counts, lookups.asked_after)
            self._kept.approvals.full.discard(agent_id)
        batch = Surroundings(lookups.now)
        for subject, grant in lookups.grants.items():
            batch.places[subject] = grant.granted - lookups.owed.get(subject, 0)
            if grant.window:
                batch.limit_retry[subject] = (grant.retry_after_ms / 1000, grant.window)
        cursors: dict[str, str] = {}
        for frame in frames:
            cursors[frame.stored.lane] = frame.stored.entry
            if frame.session is None or frame.header is None:
                self._checks.record_rejection(frame, lookups.now)
            else:
                self._admit(frame, frame.header, frame.session, lookups, batch)
        self._judge_waiting(batch)
        self._answers.answer_all()
        for name, body in lookups.due:
            self._kept.take_up(name, body, lookups)
        self._resources.tick(lookups.now)
        self._topics.prepare(lookups.now)
        if self._has_directives_for(lookups.now):
            self._presence.direct_all(lookups.now)
            self._has_directives = False
        return self._gathering.gather(commit, cursors, lookups, batch.places)

    def refuse_all(
        self, frames: Sequence[OpenedFrame], lookups: Lookups, commit: Commit, refusal: Verdict
    ) -> JudgedBatch:
        """Refuse whatever is in these frames, without a record: for when there can be none."""
        seq, head = self._ledger.seq, self._ledger.head
        self._closed = refusal
        batch = Surroundings(lookups.now)
        cursors: dict[str, str] = {}
        try:
            for frame in frames:
                cursors[frame.stored.lane] = frame.stored.entry
                if frame.session is not None and frame.header is not None:
                    self._admit(frame, frame.header, frame.session, lookups, batch)
            self._answers.answer_all()
        finally:
            self._closed = None
            self._ledger.restart(seq, head)
        return self._gathering.gather(commit, cursors, lookups, batch.places)

    def _admit(
        self,
        frame: OpenedFrame,
        header: FrameHeader,
        session: Session,
        lookups: Lookups,
        batch: Surroundings,
    ) -> None:
        """Take a frame that comes in its turn; its messages wait to be judged together with those of others."""
        if not session.is_known:
            session.learn(lookups.sessions.get((session.agent_id, header.session), {}))
        lane = frame.stored.lane
        expected = session.last.get(lane, 0) + 1
        if header.counter >= expected and header.layout != self._layout:
            self._answers.answer_for_other_layout(frame, header, session)
            return
        if header.counter != expected:
            # Whoever asks again for the receipt of a frame in this very batch must find it.
            self._judge_waiting(batch)
            self._answers.answer_all()
            if header.counter < expected:
                self._checks.record_repetition(frame, header, lookups.now)
            self._answers.answer_again(frame, header, session)
            return
        session.last[lane] = header.counter
        now = batch.now
        refusal = self._closed or self._checks.refusal(frame, session, now)
        sender, instance, key_id = session.agent_id, session.instance, session.key_id
        places = batch.places
        waited = max(0, now - frame.stored.arrived)
        if refusal is None and frame.is_plain and places.get(sender, 0) >= header.count:
            places[sender] -= header.count
            plain = [Transit(envelope, sender, instance, key_id, now) for envelope in frame.envelopes or ()]
            if waited:
                for transit in plain:
                    transit.waited_ms = waited
            self._waiting += plain
            self._answers.add(frame, plain)
            return
        transits: list[Transit] = []
        for envelope in frame.envelopes or [Envelope("", "", "", b"{}", now) for _ in range(header.count)]:
            transit = Transit.of(envelope, sender, instance, key_id, now)
            transits.append(transit)
            transit.waited_ms = waited
            if refusal is not None:
                places[sender] = places.get(sender, 0) - 1
                transit.end(refusal)
                self._ledger.record_message(transit)
            elif envelope.target == GATEWAY:
                self._judge_waiting(batch)
                transit.end(self._desk.answer(transit, lookups, batch))
            else:
                mode = mode_of(envelope.flags)
                if mode is not None:
                    transit.details = {"delivery": mode}
                if envelope.flags & Flag.SCHEDULED:
                    batch.has_scheduled = True
                if is_counted(envelope):
                    remaining = places.get(sender, 0)
                    transit.is_within_limit = remaining > 0
                    places[sender] = remaining - 1
                self._take(transit, batch, lookups)
        self._answers.add(frame, transits)

    def _take(self, transit: Transit, batch: Surroundings, lookups: Lookups) -> None:
        envelope = transit.envelope
        name = recurring_name(transit.sender, envelope) if envelope.flags else ""
        if name:
            if name in self._waiting_names:
                self._judge_waiting(batch)
            if self._decided.repeats(transit, name, lookups):
                self._judge_waiting(batch)
                self._ledger.record_message(transit)
                return
            self._waiting_names[name] = transit
        self._waiting.append(transit)

    def _judge_waiting(self, batch: Surroundings) -> None:
        """Decide, record and pass on the messages that were taken so far."""
        transits, self._waiting = self._waiting, []
        if not transits:
            return
        self._screening.screen(self._of_this_partition(transits), batch)
        if batch.turned_back:
            turn_back(batch, self._breakers, self._screening, self._is_here)
        self._resources.carry_out(of_resources(transits))
        if batch.held:
            self._hold(transits, batch)
        for transit, before in batch.scheduled:
            self._kept.schedule.hold(transit, before, self._delivery(transit))
        batch.scheduled.clear()
        self._ledger.record_messages(transits, batch.stages_us)
        batch.stages_us = {}
        self._pass_on(transits)
        for name, transit in self._waiting_names.items():
            self._decided.remember(name, transit, batch.now)
        self._waiting_names.clear()

    def _of_this_partition(self, transits: list[Transit]) -> list[Transit]:
        if self._partitions == 1 and not self._partition:
            return transits
        ours = []
        for transit in transits:
            if self._is_here(transit.envelope.target):
                ours.append(transit)
            else:
                transit.end(Verdict(Decision.INVALID, "the target belongs to another partition"))
        return ours

    def _is_here(self, agent_id: str) -> bool:
        return partition_of(agent_id, self._partitions) == self._partition

    def _hold(self, transits: Sequence[Transit], batch: Surroundings) -> None:
        held = {id(transit): before for transit, before in batch.held}
        batch.held.clear()
        for seq, transit in enumerate(transits, self._ledger.seq + 1):
            if transit.decision is Decision.HELD and not transit.is_repeat:
                self._kept.approvals.hold(transit, held[id(transit)], self._delivery(transit), seq)

    def _pass_on(self, transits: Sequence[Transit]) -> None:
        deliver, watched = self._outbound.deliver, self._breakers.watched
        keys, tracing = self._keys, self._tracing
        for transit in transits:
            if transit.decision is not _ALLOWED and not transit.decision.is_delivered:
                if not is_counted(transit.envelope):
                    self._places.owe(transit.sender)
                continue
            if transit.is_for_resource:
                if is_topic(transit.envelope.target):
                    self._topics.publish(self._delivery(transit))
                continue
            is_traced = tracing is not None and tracing.takes(transit)
            delivery = delivery_of(transit, keys, is_traced=is_traced)
            if watched:
                self._breakers.deliver(delivery)
            if transit.capsule is not None:
                self._outbound.answer(transit.capsule.instance, delivery)
            else:
                deliver(lane_of(delivery.priority), delivery)

    def _delivery(self, transit: Transit) -> Delivery:
        is_traced = self._tracing is not None and self._tracing.takes(transit)
        return delivery_of(transit, self._keys, is_traced=is_traced)
