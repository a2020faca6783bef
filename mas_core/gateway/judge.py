"""Judges a batch of opened frames: what is decided, recorded, delivered and answered.

Nothing here does I/O. What the judge must know it asks through `Lookups` beforehand; what it decides it puts
into one `Commit`. Between the two it changes only the owner's memory, which is thrown away when the commit
does not go through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from mas_core.base.ids import GATEWAY, partition_of
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.gateway.approvals import Approvals
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.control_budget import ControlBudget
from mas_core.gateway.control_desk import ControlDesk
from mas_core.gateway.dead_letters import DeadLetters
from mas_core.gateway.decided_ids import REPLAY_WINDOW_MS, DecidedIds, recurring_name
from mas_core.gateway.directory import Directory
from mas_core.gateway.frame_answers import FrameAnswers
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.key_answers import KeyAnswers
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.places import Grants, Places, is_counted
from mas_core.gateway.presence import Presence
from mas_core.gateway.queue_orders import QueueOrders
from mas_core.gateway.redelivery import Redelivery
from mas_core.gateway.rehearsal import Rehearsals
from mas_core.gateway.rerouting import try_backup
from mas_core.gateway.schedule import Schedule, ScheduleBounds
from mas_core.gateway.screening import Screening
from mas_core.gateway.second_look import SecondLook
from mas_core.gateway.sessions import Session
from mas_core.gateway.stages.check_breaker import CheckBreaker
from mas_core.gateway.stages.check_inbox import NO_RESPONDER, CheckInbox
from mas_core.gateway.stages.check_permit import make_permit
from mas_core.gateway.stages.check_signature import proof_of_delivery
from mas_core.gateway.stages.hold_for_approval import HoldForApproval
from mas_core.gateway.stages.hold_until_due import HoldUntilDue
from mas_core.gateway.stages.limit_totals import LimitTotals
from mas_core.gateway.totals import Totals
from mas_core.gateway.transit import Stage, Surroundings, Transit, Verdict
from mas_core.model.approval import DUE_PREFIX
from mas_core.model.dead_letter import END_PREFIX, ORDER_PREFIX
from mas_core.model.decision import Decision, Receipt
from mas_core.model.delivery_mode import mode_of
from mas_core.model.frame import Frame, FrameHeader
from mas_core.model.message import (
    Capsule,
    Delivery,
    Envelope,
    Flag,
)
from mas_core.model.priority import lane_of
from mas_core.model.queue_order import TRIM_PREFIX
from mas_core.model.retry import RetryTerms
from mas_core.model.scheduled import SCHEDULE_PREFIX
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.commits import Commit
from mas_core.store.partitions import Lookups

POSTPONED_MS = 60_000
"""How long a message that was due and could not be gone on with is kept."""

log = get_logger(__name__)

_ALLOWED = Decision.ALLOWED  # the members of an enum are slow to look up, and this one is asked for most

_DELIVERED_FLAGS = (
    Flag.EXPECTS_REPLY
    | Flag.IS_REPLY
    | Flag.PARTIAL
    | Flag.ERROR
    | Flag.AT_MOST_ONCE
    | Flag.AT_LEAST_ONCE
    | Flag.EXACTLY_ONCE
)
_RECEIPT_DECODER = msgspec.msgpack.Decoder(Receipt)
_PACKER = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """A commit, and the answers that go to other partitions once it is through."""

    commit: Commit
    foreign_answers: list[tuple[int, str, str, Frame]]
    grants: Grants
    places: dict[str, int]
    """Places of the grants that no message took."""


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
        waiting: int,
        answers_after_commit: bool,
        places: Places,
        controls: ControlBudget,
        scheduled: Iterable[tuple[str, int]],
        schedule_bounds: ScheduleBounds,
        retry: RetryTerms,
        frames_since: int = 0,
    ) -> None:
        self._frames_since = frames_since
        self._directory = directory
        self._keys = keys
        self._ledger = ledger
        self._outbound = outbound
        self._inboxes = inboxes
        self._partition = partition
        self._partitions = partitions
        self._layout = layout
        self._answers_after_commit = answers_after_commit
        self._breakers = breakers
        self._places = places
        self._totals = Totals(directory, inboxes) if directory.limits.totals else None
        self._effects: list[Callable[[Commit], None]] = []
        at_rest = AtRest(keys.at_rest_key)
        second_look = SecondLook(directory, breakers)
        self._approvals = Approvals(
            directory,
            keys,
            at_rest,
            ledger,
            outbound,
            breakers,
            second_look,
            self._effects,
            partition=partition,
            waiting=waiting,
        )
        self._dead_letters = DeadLetters(
            directory,
            keys,
            at_rest,
            ledger,
            outbound,
            breakers,
            second_look,
            self._effects,
            partition=partition,
            full=self._approvals.full,
        )
        self._queue_orders = QueueOrders(
            directory, keys, at_rest, ledger, self._dead_letters, self._effects, partition=partition
        )
        self._decided = DecidedIds(self._effects)
        self._schedule = Schedule(
            keys,
            at_rest,
            ledger,
            outbound,
            breakers,
            second_look,
            self._approvals,
            self._dead_letters,
            self._decided,
            self._effects,
            waiting=scheduled,
            bounds=schedule_bounds,
        )
        stages: tuple[Stage, ...] = directory.stages
        if self._totals:
            stages = (*stages, LimitTotals(self._totals))
        stages = (*stages, HoldUntilDue(self._schedule))
        if any(rule.effect == "hold" for rule in directory.policy.rules):
            stages = (*stages, HoldForApproval(self._approvals))
        if breakers.enabled:
            stages = (*stages, CheckBreaker(breakers))
        stages = (*stages, CheckInbox(inboxes))
        second_look.use(stages)
        self._screening = Screening(stages)
        self._rehearsals = Rehearsals(stages, directory, self._totals, ledger, outbound)
        self._closed: Verdict | None = None
        self._answers = FrameAnswers(outbound, self._effects, partition)
        self._waiting: list[Transit] = []
        self._waiting_names: dict[str, Transit] = {}
        self._presence = Presence(directory, keys, ledger, outbound, inboxes, breakers, self._effects)
        self._has_looked_for_directives = self._has_directives = False
        self._redelivery = Redelivery(
            directory, at_rest, ledger, outbound, breakers, self._dead_letters, self._effects, retry
        )
        self._desk = ControlDesk(
            self._presence,
            self._redelivery,
            self._rehearsals,
            KeyAnswers(directory, outbound),
            breakers,
            ledger,
            controls,
            partition=partition,
            partitions=partitions,
        )

    def has_directives(self, now: int) -> bool:
        """Whether instances have to be told what an operator said, which a new judge looks for once."""
        if not self._has_looked_for_directives:
            self._has_looked_for_directives = True
            self._has_directives = self._presence.has_directives(now)
        return self._has_directives

    def needs_registry(self, frames: Sequence[OpenedFrame], now: int) -> bool:
        """Whether a message in the batch asks who is there."""
        return self._desk.needs_registry(frames, now)

    def ask(self, frames: Sequence[OpenedFrame], lookups: Lookups, now: int) -> None:
        """Ask everything that judging these frames needs; `now` may be a little behind."""
        lookups.asked_after = self._inboxes.committed_batches
        senders: dict[str, int] = {}
        recurring: set[str] = set()
        targets: set[str] = set(self._approvals.full)
        asked: set[tuple[str, str]] = set()
        for frame in frames:
            if frame.session is None or frame.header is None:
                continue
            sender = frame.session.agent_id
            if not frame.session.is_known and (sender, frame.header.session) not in asked:
                asked.add((sender, frame.header.session))
                lookups.session(sender, frame.header.session)
            if frame.header.layout != self._layout:
                # Nothing of it is judged.
                continue
            if frame.is_plain:
                senders[sender] = senders.get(sender, 0) + frame.header.count
                targets |= frame.targets
                continue
            for envelope in frame.envelopes or ():
                if envelope.target == GATEWAY:
                    self._desk.ask(sender, envelope, lookups, targets, now)
                    continue
                name = recurring_name(sender, envelope)
                if name:
                    recurring.add(name)
                if is_counted(envelope):
                    senders[sender] = senders.get(sender, 0) + 1
                    targets.add(envelope.target)
        if recurring:
            self._decided.ask(recurring, lookups, now)
        is_limited = self._directory.policy.features.rate_limit
        self._places.ask(lookups, senders if is_limited else {}, self._directory.limits)
        if is_limited and self._totals is not None:
            lookups.ask_totals = partial(self._totals.reservation, frames)
        targets.update([backup for name, backup in self._directory.policy.backups.items() if name in targets])
        for target in targets:
            is_here = partition_of(target, self._partitions) == self._partition
            if is_here and self._directory.is_registered(target) and not self._inboxes.is_counted(target):
                lookups.backlog(target)

    def judge(
        self,
        frames: Sequence[OpenedFrame],
        lookups: Lookups,
        commit: Commit,
    ) -> JudgedBatch:
        """Judge the frames in order and put everything that follows into `commit`."""
        for agent_id, counts in lookups.unsettled.items():
            self._inboxes.set_backlog(agent_id, counts, lookups.asked_after)
            self._approvals.full.discard(agent_id)
        batch = Surroundings(lookups.now)
        for subject, grant in lookups.grants.items():
            batch.places[subject] = grant.granted - lookups.owed.get(subject, 0)
            if grant.window:
                batch.limit_retry[subject] = (grant.retry_after_ms / 1000, grant.window)
        cursors: dict[str, str] = {}
        for frame in frames:
            cursors[frame.stored.lane] = frame.stored.entry
            if frame.session is None or frame.header is None:
                self._record_rejection(frame, lookups.now)
            else:
                self._admit(frame, frame.header, frame.session, lookups, batch)
        self._judge_waiting(batch)
        self._answers.answer_all()
        for name, body in lookups.due:
            self._take_up(name, body, lookups)
        if self.has_directives(lookups.now):
            self._presence.direct_all(lookups.now)
            self._has_directives = False
        return self._gather(commit, cursors, lookups, batch)

    def _take_up(self, name: str, body: bytes, lookups: Lookups) -> None:
        """Go on with a message that was kept until now."""
        before = len(self._effects)
        try:
            if name.startswith(DUE_PREFIX):
                self._approvals.resume(name, body, lookups.decisions.get(name), lookups.now)
            elif name.startswith(SCHEDULE_PREFIX):
                self._schedule.resume(name, body, lookups.cancellations.get(name), lookups.now)
            elif name.startswith(ORDER_PREFIX):
                self._dead_letters.carry_out(name, body, lookups.letters.get(name), lookups.now)
            elif name.startswith(TRIM_PREFIX):
                self._queue_orders.carry_out(name, body, lookups)
            elif name.startswith(END_PREFIX):
                self._dead_letters.end(name, body, lookups.letters.get(name), lookups.now)
            else:
                self._redelivery.deliver_again(name, body, lookups.now)
        except Exception as error:  # noqa: BLE001 - one message must not stop a partition, nor be lost
            log.error("due.failed", name=name, trace=trace_of(error), effect="it is tried again in a minute")
            del self._effects[before:]
            again = lookups.now + POSTPONED_MS
            self._effects.append(lambda commit: commit.add_later(name, again, body))

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
        return self._gather(commit, cursors, lookups, batch)

    def _record_rejection(self, frame: OpenedFrame, now: int) -> None:
        claimed = frame.header.agent if frame.header else ""
        self._ledger.record_event(
            "frame",
            now,
            decision=Decision.UNAUTHENTICATED,
            reason=f"Authentication failed: {frame.rejection}",
            details={"claimed_sender": claimed[:64], "lane": frame.stored.lane, "entry": frame.stored.entry},
        )

    def _record_repetition(self, frame: OpenedFrame, header: FrameHeader, now: int) -> None:
        """A frame came again: its sender missed the receipt, or somebody plays it back."""
        self._ledger.record_event(
            "frame",
            now,
            decision=Decision.REPLAYED,
            reason="the frame was judged before; nothing was delivered again",
            sender=header.agent,
            instance=header.instance,
            details={"session": header.session, "counter": header.counter, "lane": frame.stored.lane},
        )

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
                self._record_repetition(frame, header, lookups.now)
            self._answers.answer_again(frame, header, session)
            return
        session.last[lane] = header.counter
        now = batch.now
        refusal = self._frame_refusal(frame, session, now)
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
            self._turn_back(batch)
        if batch.held:
            self._hold(transits, batch)
        for transit, before in batch.scheduled:
            self._schedule.hold(transit, before, self._delivery(transit))
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
            if partition_of(transit.envelope.target, self._partitions) == self._partition:
                ours.append(transit)
            else:
                transit.end(Verdict(Decision.INVALID, "the target belongs to another partition"))
        return ours

    def _frame_refusal(self, frame: OpenedFrame, session: Session, now: int) -> Verdict | None:
        if self._closed is not None:
            return self._closed
        key = self._directory.key(session.agent_id, session.key_id)
        if key is None or key.revoked:
            return Verdict(
                Decision.UNAUTHENTICATED, "Authentication failed: the token was revoked", "token_revoked"
            )
        if not key.is_valid(now):
            return Verdict(
                Decision.UNAUTHENTICATED, "Authentication failed: the token has expired", "token_expired"
            )
        # Sessions are remembered for twice as long, so a frame of either side of the window never comes anew.
        if frame.header is not None and abs(now - frame.header.time) > REPLAY_WINDOW_MS:
            return Verdict(Decision.EXPIRED, "the frame is not of the time of the replay window")
        if frame.header is not None and frame.header.time < self._frames_since:
            return Verdict(
                Decision.EXPIRED, "the frame is older than the restore of the system and may have been judged"
            )
        if frame.envelopes is None:
            return Verdict(Decision.INVALID, "the frame holds no readable messages")
        return None

    def _turn_back(self, batch: Surroundings) -> None:
        """What the last stages turned back tells of its target, and may go to the backup of that one."""
        turned_back, batch.turned_back = batch.turned_back, []
        for transit in turned_back:
            target = transit.envelope.target
            self._breakers.turned_back(transit.sender, target, transit.envelope.id)
            if transit.rule == NO_RESPONDER:
                self._breakers.absent(target, batch.now)
            elif transit.decision is Decision.CIRCUIT_OPEN:
                backup = self._breakers.backup_of(transit.sender, target)
                if backup:
                    is_here = partition_of(backup, self._partitions) == self._partition
                    try_backup(transit, backup, batch, self._screening, is_here=is_here)
        batch.turned_back.clear()

    def _hold(self, transits: Sequence[Transit], batch: Surroundings) -> None:
        held = {id(transit): before for transit, before in batch.held}
        batch.held.clear()
        for seq, transit in enumerate(transits, self._ledger.seq + 1):
            if transit.decision is Decision.HELD and not transit.is_repeat:
                self._approvals.hold(transit, held[id(transit)], self._delivery(transit), seq)

    def _pass_on(self, transits: Sequence[Transit]) -> None:
        deliver, watched = self._outbound.deliver, self._breakers.watched
        for transit in transits:
            if transit.decision is not _ALLOWED and not transit.decision.is_delivered:
                if not is_counted(transit.envelope):
                    self._places.owe(transit.sender)
                continue
            delivery = self._delivery(transit)
            if watched:
                self._breakers.deliver(delivery)
            if transit.capsule is not None:
                self._outbound.answer(transit.capsule.instance, delivery)
            else:
                deliver(lane_of(delivery.priority), delivery)

    def _delivery(self, transit: Transit) -> Delivery:
        envelope, now = transit.envelope, transit.now
        flags = envelope.flags & _DELIVERED_FLAGS
        if transit.is_encrypted:
            flags |= Flag.ENCRYPTED
        expires_at = (transit.due or now - transit.waited_ms) + envelope.ttl_ms
        permit = b""
        if transit.expects_reply:
            permit = make_permit(
                self._keys,
                Capsule(
                    envelope.id,
                    transit.sender,
                    transit.instance,
                    envelope.target,
                    expires_at,
                    is_encrypted=transit.is_encrypted,
                ),
            )
        return Delivery(
            envelope.id,
            transit.sender,
            envelope.target,
            envelope.type,
            transit.data,
            now,
            expires_at,
            envelope.priority,
            flags,
            envelope.correlation,
            permit,
            envelope.headers,
            proof=proof_of_delivery(transit) if transit.proof is not None else None,
        )

    def _gather(
        self, commit: Commit, cursors: dict[str, str], lookups: Lookups, batch: Surroundings
    ) -> JudgedBatch:
        now = lookups.now
        block = self._ledger.take_block()
        if block:
            commit.add_audit(block, self._ledger.seq, self._ledger.head)
        if self._ledger.payload_evidence is not None:
            for seq, sealed in self._ledger.payload_evidence.take_copies():
                commit.keep_payload(seq, sealed)
        for lane, entry in cursors.items():
            commit.move_cursor(lane, entry)
        for agent_id, lane, frame, count in self._outbound.inbox_frames(now):
            commit.deliver(agent_id, lane, frame, count)
        for effect in self._effects:
            effect(commit)
        self._breakers.write(commit, now)
        foreign: list[tuple[int, str, str, Frame]] = []
        for agent_id, instance, frame in self._outbound.reply_frames(now):
            self._put_answer(commit, foreign, agent_id, instance, frame, may_wait=False)
        for agent_id, instance, frame in self._outbound.receipt_frames(now):
            self._put_answer(commit, foreign, agent_id, instance, frame, may_wait=self._answers_after_commit)
        self._effects.clear()
        self._decided.end_batch()
        self._inboxes.end_batch()
        return JudgedBatch(commit, foreign, lookups.grants, batch.places)

    def _put_answer(
        self,
        commit: Commit,
        foreign: list[tuple[int, str, str, Frame]],
        agent_id: str,
        instance: str,
        frame: Frame,
        *,
        may_wait: bool,
    ) -> None:
        partition = partition_of(agent_id, self._partitions)
        if partition == self._partition and not may_wait:
            commit.answer(agent_id, instance, frame)
        else:
            foreign.append((partition, agent_id, instance, frame))
