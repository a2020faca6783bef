"""Judges a batch of opened frames: what is decided, recorded, delivered and answered.

Nothing here does I/O. What the judge must know it asks through `Lookups` beforehand; what it decides it puts
into one `Commit`. Between the two it changes only the owner's memory, which is thrown away when the commit
does not go through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from mas_core.base.ids import GATEWAY, partition_of
from mas_core.base.logs import get_logger
from mas_core.base.traces import trace_of
from mas_core.errors import DecryptionFailed
from mas_core.gateway.controls import (
    ATTACH_DECODER,
    DISCOVER_DECODER,
    NACK_DECODER,
    AttachData,
    NackData,
    check_claims,
)
from mas_core.gateway.directory import Directory
from mas_core.gateway.inboxes import Inboxes
from mas_core.gateway.ledger import Ledger
from mas_core.gateway.opening import OpenedFrame
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.sessions import Session
from mas_core.gateway.stages.check_inbox import CheckInbox
from mas_core.gateway.stages.check_permit import make_permit
from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision, Receipt
from mas_core.model.frame import DELIVERIES_DECODER, Frame, FrameReceipt
from mas_core.model.message import (
    ATTACH,
    CONTROL_TYPES,
    DETACH,
    DISCOVER,
    NACK,
    Capsule,
    Delivery,
    Envelope,
    Flag,
)
from mas_core.model.priority import lane_of
from mas_core.model.registration import InstanceStatus
from mas_core.registry.registry import REGISTRATION_EXPIRY_MS, AgentEntry, instance_text
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest, read_header
from mas_core.store.partitions import Commit, Lookups

log = get_logger(__name__)

REPLAY_WINDOW_MS = 3_600_000
"""Frames older than this are refused, and ids are remembered for at least this long."""

MAX_ATTEMPTS = 3
RETRY_DELAYS_MS = (1_000, 4_000)
"""Delay before the second and the third attempt."""

_DELIVERED_FLAGS = Flag.EXPECTS_REPLY | Flag.IS_REPLY | Flag.PARTIAL | Flag.ERROR
_RECEIPT_DECODER = msgspec.msgpack.Decoder(Receipt)
_DELIVERY_DECODER = msgspec.msgpack.Decoder(Delivery)
_PACKER = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """A commit, and the answers that go to other partitions once it is through."""

    commit: Commit
    foreign_answers: list[tuple[int, str, str, Frame]]


class Judge:
    """Passes messages through the stages and gathers what follows from them, for one partition."""

    def __init__(
        self,
        directory: Directory,
        keys: GatewayKeys,
        ledger: Ledger,
        outbound: Outbound,
        inboxes: Inboxes,
        *,
        partition: int,
        partitions: int,
        answers_after_commit: bool,
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._ledger = ledger
        self._outbound = outbound
        self._inboxes = inboxes
        self._partition = partition
        self._partitions = partitions
        self._answers_after_commit = answers_after_commit
        self._at_rest = AtRest(keys.at_rest_key)
        self._stages = (*directory.stages, CheckInbox(inboxes))
        self._decided: dict[str, bytes] = {}
        self._decided_before: dict[str, bytes] = {}
        self._effects: list[Callable[[Commit], None]] = []
        self._events: list[dict[str, object]] = []
        self._entries: Sequence[AgentEntry] = ()

    def needs_registry(self, frames: Sequence[OpenedFrame]) -> bool:
        """Whether a message in the batch asks who is there."""
        return any(
            envelope.target == GATEWAY and envelope.type == DISCOVER
            for frame in frames
            for envelope in frame.envelopes or ()
        )

    def ask(self, frames: Sequence[OpenedFrame], lookups: Lookups, now: int) -> None:
        """Ask everything that judging these frames needs; `now` may be a little behind."""
        senders: dict[str, int] = {}
        recurring: set[str] = set()
        targets: set[str] = set()
        asked: set[str] = set()
        for frame in frames:
            if frame.session is None or frame.header is None:
                continue
            if not frame.session.is_known and frame.header.session not in asked:
                asked.add(frame.header.session)
                lookups.session(frame.header.session)
            sender = frame.session.agent_id
            for envelope in frame.envelopes or ():
                if envelope.target == GATEWAY:
                    self._ask_control(sender, envelope, lookups)
                    continue
                name = _recurring_name(sender, envelope)
                if name:
                    recurring.add(name)
                if not envelope.flags & Flag.IS_REPLY:
                    senders[sender] = senders.get(sender, 0) + 1
                    targets.add(envelope.target)
        if recurring:
            bucket = now // REPLAY_WINDOW_MS
            for number in (bucket - 1, bucket):
                lookups.seen_ids(number, sorted(recurring))
        if self._directory.policy.features.rate_limit:
            for sender, count in senders.items():
                limit = self._directory.limit(sender)
                lookups.reserve(partition_of(sender, self._partitions), sender, count, limit)
        for target in targets:
            if self._directory.is_registered(target) and not self._inboxes.is_counted(target):
                lookups.backlog(target)

    def _ask_control(self, sender: str, envelope: Envelope, lookups: Lookups) -> None:
        if envelope.type == NACK:
            try:
                nack = NACK_DECODER.decode(envelope.data)
            except msgspec.DecodeError:
                return
            if _is_entry(nack.entry):
                lookups.inbox_frame(sender, nack.lane, nack.entry)

    def judge(
        self,
        frames: Sequence[OpenedFrame],
        lookups: Lookups,
        commit: Commit,
        entries: Sequence[AgentEntry] = (),
    ) -> JudgedBatch:
        """Judge the frames in order and put everything that follows into `commit`."""
        self._entries = entries
        for agent_id, counts in lookups.unsettled.items():
            self._inboxes.set_backlog(agent_id, counts)
        batch = Surroundings(lookups.now)
        left = {}
        for sender, grant in lookups.grants.items():
            left[sender] = grant.granted
            batch.limit_retry[sender] = (grant.retry_after_ms / 1000, grant.window or "minute")
        cursors: dict[str, str] = {}
        for frame in frames:
            cursors[frame.stored.lane] = frame.stored.entry
            if frame.session is None or frame.header is None:
                self._record_rejection(frame, lookups.now)
            else:
                self._judge_frame(frame, frame.session, lookups, batch, left)
        for name, body in lookups.due:
            self._deliver_again(name, body, lookups.now)
        return self._gather(commit, cursors, lookups.now)

    def _record_rejection(self, frame: OpenedFrame, now: int) -> None:
        claimed = frame.header.agent if frame.header else ""
        self._ledger.record_event(
            "frame",
            now,
            decision=Decision.UNAUTHENTICATED,
            reason=f"Authentication failed: {frame.rejection}",
            details={"claimed_sender": claimed[:64], "lane": frame.stored.lane, "entry": frame.stored.entry},
        )
        self._show(now, claimed[:64], "", "frame", 0, Decision.UNAUTHENTICATED, frame.rejection)

    def _judge_frame(
        self,
        frame: OpenedFrame,
        session: Session,
        lookups: Lookups,
        batch: Surroundings,
        left: dict[str, int],
    ) -> None:
        header, now = frame.header, batch.now
        if header is None:
            return
        if not session.is_known:
            session.learn(lookups.sessions.get(header.session, {}))
        lane = frame.stored.lane
        expected = session.last.get(lane, 0) + 1
        if header.counter != expected:
            answer = session.receipt_of(lane, header.counter) if header.counter < expected else None
            self._outbound.receipt(
                session.agent_id,
                session.instance,
                answer
                or FrameReceipt(header.session, self._partition, lane, header.counter, expected=expected),
            )
            return
        refusal = self._frame_refusal(frame, session, now)
        positions: list[int] = []
        receipts: list[Receipt] = []
        envelopes = frame.envelopes or [Envelope("", "", "", b"{}", now) for _ in range(header.count)]
        for position, envelope in enumerate(envelopes):
            transit = Transit(envelope, session.agent_id, session.instance, session.key_id, now)
            if refusal is not None:
                transit.end(refusal)
                self._ledger.record_message(transit)
            elif envelope.target == GATEWAY:
                transit.end(self._control(transit, lookups))
            else:
                if not transit.is_reply:
                    remaining = left.get(transit.sender, 0)
                    transit.is_within_limit = remaining > 0
                    left[transit.sender] = remaining - 1
                self._judge_message(transit, batch, lookups)
            if transit.decision is not Decision.ALLOWED or transit.is_repeat:
                positions.append(position)
                receipts.append(transit.receipt())
        receipt = FrameReceipt(
            header.session, self._partition, lane, header.counter, tuple(receipts), tuple(positions)
        )
        text = _PACKER.encode(receipt)
        slot = session.accept(lane, header.counter, text)
        self._effects.append(
            lambda commit: commit.remember_session(header.session, lane, header.counter, text, slot)
        )
        self._outbound.receipt(session.agent_id, session.instance, text)

    def _frame_refusal(self, frame: OpenedFrame, session: Session, now: int) -> Verdict | None:
        key = self._directory.key(session.agent_id, session.key_id)
        if key is None or key.revoked:
            return Verdict(
                Decision.UNAUTHENTICATED, "Authentication failed: the token was revoked", "token_revoked"
            )
        if not key.is_valid(now):
            return Verdict(
                Decision.UNAUTHENTICATED, "Authentication failed: the token has expired", "token_expired"
            )
        if frame.header is not None and now - frame.header.time > REPLAY_WINDOW_MS:
            return Verdict(Decision.EXPIRED, "the frame is older than the replay window")
        if frame.envelopes is None:
            return Verdict(Decision.INVALID, "the frame holds no readable messages")
        return None

    def _judge_message(self, transit: Transit, batch: Surroundings, lookups: Lookups) -> None:
        envelope = transit.envelope
        name = _recurring_name(transit.sender, envelope)
        if name and self._repeat(transit, name, lookups):
            self._ledger.record_message(transit)
            return
        self._pass_stages(transit, batch)
        self._ledger.record_message(transit)
        if transit.decision.is_delivered:
            self._pass_on(transit)
        if name and not transit.decision.is_transient:
            text = _PACKER.encode(transit.receipt())
            self._decided[name] = text
            bucket = batch.now // REPLAY_WINDOW_MS
            self._effects.append(
                lambda commit: commit.remember_id(bucket, name, text, 2 * REPLAY_WINDOW_MS + 60_000)
            )
        self._show(
            batch.now,
            transit.sender,
            envelope.target,
            envelope.type,
            len(envelope.data),
            transit.decision,
            transit.reason,
            envelope.id,
            transit.rule,
        )

    def _pass_stages(self, transit: Transit, batch: Surroundings) -> None:
        for stage in self._stages:
            try:
                verdict = stage.check(transit, batch)
            except Exception as error:  # noqa: BLE001 - one message must not stop a partition
                log.error("stage.failed", stage=stage.name, trace=trace_of(error))
                verdict = Verdict(Decision.UNSCANNABLE, f"the stage {stage.name} failed on this message")
            if verdict is not None:
                transit.end(verdict)
                return

    def _repeat(self, transit: Transit, name: str, lookups: Lookups) -> bool:
        text = self._decided.get(name) or self._decided_before.get(name) or lookups.seen.get(name)
        if text is None:
            return False
        receipt = _RECEIPT_DECODER.decode(text)
        if receipt.message_id == transit.envelope.id:
            transit.is_repeat = True
            transit.end(
                Verdict(receipt.decision, receipt.reason or "decided before", receipt.rule, receipt.findings)
            )
        else:
            transit.end(Verdict(Decision.REPLAYED, "this request was answered before"))
        return True

    def _pass_on(self, transit: Transit) -> None:
        envelope, now = transit.envelope, transit.now
        expires_at = now + envelope.ttl_ms
        permit = b""
        if transit.expects_reply:
            permit = make_permit(
                self._keys,
                Capsule(envelope.id, transit.sender, transit.instance, envelope.target, expires_at),
            )
        delivery = Delivery(
            envelope.id,
            transit.sender,
            envelope.target,
            envelope.type,
            transit.data,
            now,
            expires_at,
            envelope.priority,
            envelope.flags & _DELIVERED_FLAGS,
            envelope.correlation,
            permit,
            envelope.headers,
        )
        if transit.capsule is not None:
            self._outbound.answer(transit.capsule.instance, delivery)
        else:
            self._outbound.deliver(lane_of(envelope.priority), delivery)

    def _control(self, transit: Transit, lookups: Lookups) -> Verdict:
        message_type = transit.envelope.type
        if message_type not in CONTROL_TYPES:
            return Verdict(Decision.INVALID, "the gateway takes no messages of this type")
        if partition_of(transit.sender, self._partitions) != self._partition:
            return Verdict(Decision.INVALID, "this belongs to the partition of the agent")
        try:
            match message_type:
                case "mas.nack":
                    return self._hand_back(transit, NACK_DECODER.decode(transit.envelope.data), lookups)
                case "mas.discover":
                    return self._discover(transit)
                case _:
                    return self._presence(transit, ATTACH_DECODER.decode(transit.envelope.data))
        except msgspec.DecodeError as error:
            return Verdict(Decision.INVALID, f"the gateway cannot read this: {error}")

    def _presence(self, transit: Transit, data: AttachData) -> Verdict:
        agent_id, instance, now = transit.sender, transit.instance, transit.now
        instances = self._inboxes.instances(agent_id)
        known = instances.get(instance)
        if transit.envelope.type == DETACH:
            instances.pop(instance, None)
            self._effects.append(lambda commit: commit.end_instance(agent_id, instance))
            self._record_presence("agent.detach", transit, Decision.ALLOWED, "")
            return Verdict(Decision.ALLOWED, "")
        registration = self._directory.registration(agent_id)
        refusal = check_claims(data, registration.capabilities if registration else ())
        if refusal is not None:
            self._record_presence("agent.attach", transit, *refusal)
            return Verdict(*refusal)
        status = InstanceStatus(
            instance,
            known.started if known else now,
            now,
            data.status,
            data.in_hand,
            data.capabilities,
            data.metadata,
            data.slot,
            data.host[:64],
            data.pid,
        )
        text = instance_text(self._keys, agent_id, status)
        self._effects.append(lambda commit: commit.set_instance(agent_id, instance, text, now))
        if known is None:
            self._retire(agent_id, instances, data.slot, now)
            if transit.envelope.type == ATTACH:
                self._record_presence("agent.attach", transit, Decision.ALLOWED, "")
        instances[instance] = status
        return Verdict(Decision.ALLOWED, "")

    def _retire(self, agent_id: str, instances: dict[str, InstanceStatus], slot: str, now: int) -> None:
        for other in list(instances.values()):
            if slot and other.slot == slot:
                replaced = other.instance
                del instances[replaced]
                self._effects.append(lambda commit, gone=replaced: commit.end_instance(agent_id, gone))  # type: ignore[misc]
            elif other.seen + 10 * REGISTRATION_EXPIRY_MS < now:
                del instances[other.instance]
                old = [other.instance]
                self._effects.append(lambda commit, gone=old: commit.forget_instances(agent_id, gone))  # type: ignore[misc]

    def _record_presence(self, kind: str, transit: Transit, decision: Decision, reason: str) -> None:
        self._ledger.record_event(
            kind,
            transit.now,
            decision=decision,
            reason=reason,
            sender=transit.sender,
            instance=transit.instance,
        )

    def _discover(self, transit: Transit) -> Verdict:
        wanted = DISCOVER_DECODER.decode(transit.envelope.data)
        found = []
        for entry in self._entries:
            running = entry.running(transit.now)
            if not running or not self._directory.access.may_see(transit.sender, entry.agent_id, transit.now):
                continue
            capabilities = entry.capabilities(transit.now)
            metadata = entry.metadata(transit.now)
            matches = [name in capabilities for name in wanted.capabilities]
            if matches and not (all(matches) if wanted.match_all else any(matches)):
                continue
            if any(metadata.get(name) != value for name, value in wanted.metadata.items()):
                continue
            if wanted.status and all(item.status != wanted.status for item in running):
                continue
            found.append(
                {
                    "id": entry.agent_id,
                    "capabilities": capabilities,
                    "metadata": metadata,
                    "instances": len(running),
                    "load": sum(item.in_hand for item in running),
                }
            )
        self._outbound.answer(
            transit.instance,
            Delivery(
                f"{transit.envelope.id}.reply",
                GATEWAY,
                transit.sender,
                "mas.discovered",
                _JSON.encode({"agents": found}),
                transit.now,
                transit.now + REPLAY_WINDOW_MS,
                transit.envelope.priority,
                Flag.IS_REPLY,
                transit.envelope.id,
            ),
        )
        return Verdict(Decision.ALLOWED, "")

    def _hand_back(self, transit: Transit, nack: NackData, lookups: Lookups) -> Verdict:
        agent_id, now = transit.sender, transit.now
        frame = lookups.inbox_frames.get((agent_id, nack.lane, nack.entry))
        if frame is None:
            return Verdict(Decision.ALLOWED, "the message is settled already")
        try:
            delivery = self._open_delivery(agent_id, frame, nack.position)
        except (DecryptionFailed, msgspec.DecodeError, IndexError):
            return Verdict(Decision.INVALID, "the frame that this names cannot be read")
        reason = f"{nack.code}: {nack.reason}"[:500]
        if nack.retryable and delivery.attempt < MAX_ATTEMPTS:
            delivery.attempt += 1
            due = now + RETRY_DELAYS_MS[min(delivery.attempt - 2, len(RETRY_DELAYS_MS) - 1)]
            name = f"{agent_id}:{delivery.id}:{delivery.attempt}"
            body = self._at_rest.seal("later", _PACKER.encode(delivery))
            self._effects.append(lambda commit: commit.add_later(name, due, body))
            self._record_delivery("delivery.retry", delivery, now, reason)
        else:
            self._bury(delivery, now, nack.code, reason)
        self._effects.append(
            lambda commit: commit.settle(agent_id, nack.lane, nack.entry, nack.total, nack.position)
        )
        return Verdict(Decision.ALLOWED, "")

    def _open_delivery(self, agent_id: str, frame: Frame, position: int) -> Delivery:
        header = read_header(frame)
        key = self._directory.key(agent_id, header.agent_key_id)
        if key is None or header.agent != agent_id or position < 0:
            raise DecryptionFailed
        seal_key = self._directory.seal_key(agent_id, key, session=header.session, to_gateway=False)
        return DELIVERIES_DECODER.decode(seal_key.open(header, frame))[position]

    def _bury(self, delivery: Delivery, now: int, code: str, reason: str) -> None:
        body = self._at_rest.seal("dead", _PACKER.encode(delivery))
        self._effects.append(
            lambda commit: commit.add_dead_letter(
                {
                    "message_id": delivery.id,
                    "agent": delivery.target,
                    "sender": delivery.sender,
                    "type": delivery.type,
                    "code": code[:64],
                    "reason": reason,
                    "attempts": delivery.attempt,
                    "time": now,
                    "body": body,
                }
            )
        )
        self._record_delivery("delivery.dead", delivery, now, reason)

    def _deliver_again(self, name: str, body: bytes, now: int) -> None:
        self._effects.append(lambda commit: commit.remove_later(name))
        try:
            delivery = _DELIVERY_DECODER.decode(self._at_rest.open("later", body))
        except (DecryptionFailed, msgspec.DecodeError):
            self._ledger.record_event(
                "delivery.dead", now, reason="a message kept for later cannot be read", details={"name": name}
            )
            return
        if now > delivery.expires_at:
            self._bury(delivery, now, "expired", "its time to live ended before the next attempt")
        else:
            self._outbound.deliver(lane_of(delivery.priority), delivery)

    def _record_delivery(self, kind: str, delivery: Delivery, now: int, reason: str) -> None:
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

    def _show(
        self,
        now: int,
        sender: str,
        target: str,
        message_type: str,
        size: int,
        decision: Decision,
        reason: str,
        message_id: str = "",
        rule: str = "",
    ) -> None:
        self._events.append(
            {
                "time": now,
                "from": sender,
                "to": target,
                "type": message_type,
                "bytes": size,
                "decision": decision,
                "reason": reason,
                "id": message_id,
                "rule": rule,
            }
        )

    def _gather(self, commit: Commit, cursors: dict[str, str], now: int) -> JudgedBatch:
        block = self._ledger.take_block()
        if block:
            commit.add_audit(block, self._ledger.seq, self._ledger.head)
        for lane, entry in cursors.items():
            commit.move_cursor(lane, entry)
        for agent_id, lane, frame, count in self._outbound.inbox_frames(now):
            commit.deliver(agent_id, lane, frame, count)
        for effect in self._effects:
            effect(commit)
        foreign: list[tuple[int, str, str, Frame]] = []
        for agent_id, instance, frame in self._outbound.reply_frames(now):
            self._put_answer(commit, foreign, agent_id, instance, frame, may_wait=False)
        for agent_id, instance, frame in self._outbound.receipt_frames(now):
            self._put_answer(commit, foreign, agent_id, instance, frame, may_wait=self._answers_after_commit)
        if self._events:
            commit.show(_JSON.encode_lines(self._events))
        self._effects.clear()
        self._events.clear()
        self._decided_before, self._decided = self._decided, {}
        return JudgedBatch(commit, foreign)

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


def _recurring_name(sender: str, envelope: Envelope) -> str:
    """Under which name a decision is remembered; empty when the id cannot occur again."""
    if envelope.flags & Flag.IS_REPLY and not envelope.flags & Flag.PARTIAL:
        return f"{sender} reply {envelope.correlation[:128]}"
    return f"{sender} {envelope.id[:128]}" if envelope.flags & Flag.CHOSEN_ID else ""


def _is_entry(entry: str) -> bool:
    milliseconds, dash, number = entry.partition("-")
    return bool(dash) and milliseconds.isdecimal() and number.isdecimal() and len(entry) <= 41
