"""What the owner of a partition does: take the lease, read the ingress, commit a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mas_core.errors import InternalError
from mas_core.model.frame import Frame
from mas_core.model.operator_entry import OPERATOR_LANE
from mas_core.model.priority import LANES
from mas_core.model.scheduled import SCHEDULE_PREFIX
from mas_core.store.commits import REPLIES_EXPIRY_MS, Commit, CommitReply, CommitResult
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.limits import Reservation
from mas_core.store.lookups import Lookups
from mas_core.store.stored import StoredFrame, frame_of, hash_of

WAITING_READ_FRAMES = 4
"""Frames of a lane that one reading brings which had to wait for them."""


@dataclass(slots=True)
class Meta:
    """What a partition's meta hash says when its lease was taken."""

    epoch: str
    layout: str
    audit_seq: str
    audit_head: str
    policy_revision: str
    cursors: dict[str, str]
    operator_cursor: str = ""
    """Up to where the operator log is recorded; of partition 0."""
    frames_since: int = 0
    """Frames of before are refused: the store was restored then. Unix milliseconds; 0 when it never was."""


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """Somebody else owns the partition."""

    owner: str
    remaining_ms: int


class PartitionStore:
    """One partition as its owner sees it."""

    def __init__(self, connection: Connection, keys: Keys, partition: int) -> None:
        self._connection = connection
        self.keys = keys
        self.partition = partition
        self._ingress: dict[str, str] = {lane: keys.ingress(partition, lane) for lane in LANES}
        if partition == 0:
            self._ingress[OPERATOR_LANE] = keys.operator_log()
        self._lanes = {key.encode(): lane for lane, key in self._ingress.items()}

    async def acquire(
        self, gateway_id: str, nonce: str, lease_ms: int, layout: str, *, only_orphaned: bool = False
    ) -> Meta | LeaseHeld:
        """Take the lease if it is free; with `only_orphaned` only if its owner stopped without giving it up.

        Raises:
            InternalError: The partition belongs to a system with another number of partitions.
        """
        reply = await self._connection.script(
            "acquire",
            [self.keys.meta(self.partition)],
            [gateway_id, nonce, lease_ms, layout, int(only_orphaned), self._connection.replicas],
        )
        if reply[0] == b"held":
            return LeaseHeld(reply[1].decode(), int(reply[2]))
        if reply[0] == b"layout":
            raise InternalError(
                f"the server holds a layout of {reply[1].decode()} partitions, not {layout}",
                hint=(
                    "mas partitions list",
                    "set the same `partitions` in mas.yaml as the system was made with",
                ),
            )
        flat = [item.decode() for item in reply[2]]
        return _meta(dict(zip(flat[::2], flat[1::2], strict=True)))

    async def read_meta(self, nonce: str) -> Meta | None:
        """What the meta hash says now; None when the lease is no longer held under `nonce`."""
        fields = hash_of(await self._connection.call("HGETALL", self.keys.meta(self.partition)))
        if fields.get("nonce", b"").decode() != nonce:
            return None
        return _meta({name: value.decode() for name, value in fields.items()})

    async def renew(self, nonce: str, lease_ms: int) -> bool:
        """Extend the lease; 0 gives it up. False when it is no longer ours."""
        reply = await self._connection.script("renew", [self.keys.meta(self.partition)], [nonce, lease_ms])
        return bool(reply)

    async def read_ingress(self, cursors: Mapping[str, str], counts: Mapping[str, int]) -> list[StoredFrame]:
        """Frames after the cursors, at most `counts` of each lane; the operator log of partition 0 is one."""
        pipeline = Pipeline()
        for lane, count in counts.items():
            if count > 0:
                pipeline.add(
                    "XREAD", "COUNT", count, "STREAMS",
                    self._ingress[lane], cursors[lane] or "0-0",
                )  # fmt: skip
        if not pipeline.commands:
            return []
        return [frame for reply in await self._connection.run(pipeline) for frame in self._frames(reply)]

    async def wait_for_ingress(self, cursors: Mapping[str, str], block_ms: int) -> list[StoredFrame]:
        """A few frames after the cursors; waits up to `block_ms` when there are none."""
        reply = await self._connection.wait(
            "XREAD", "COUNT", WAITING_READ_FRAMES, "BLOCK", block_ms, "STREAMS",
            *(self._ingress[lane] for lane in cursors),
            *(entry or "0-0" for entry in cursors.values()),
        )  # fmt: skip
        return self._frames(reply)

    def _frames(self, reply: Any) -> list[StoredFrame]:
        return [
            StoredFrame(self._lanes[stream], entry.decode(), frame_of(fields))
            for stream, entries in reply or ()
            for entry, fields in entries
        ]

    async def commit(self, commit: Commit, stock: Reservation | None = None) -> CommitReply:
        """Carry out a batch at once or not at all, and reserve places for the next in the same round trip.

        Returns when enough replicas have it too, or when they take too long (`CommitReply.is_covered`).

        Raises:
            StoreUnreachable: It is unknown whether it was carried out; read the meta before going on.
        """
        pipeline = Pipeline()
        self._connection.add_script(pipeline, "commit", *commit.script_call())
        if stock is not None:
            stock.queue(self._connection, pipeline)
        (reply, *reserved), is_covered = await self._connection.run_covered(pipeline)
        grants = stock.grants(reserved) if stock is not None else {}
        match reply[0]:
            case b"ok":
                return CommitReply(CommitResult.DONE, int(reply[1]), grants=grants, is_covered=is_covered)
            case b"changed" if reply[1] == b"policy_revision":
                return CommitReply(CommitResult.STALE_POLICY, grants=grants)
            case b"changed":
                return CommitReply(CommitResult.LOST, grants=grants)
            case _:
                return CommitReply(CommitResult.BLOCKED, key=reply[1].decode(), grants=grants)

    async def is_covered(self, nonce: str, lease_ms: int, audit: tuple[str, str]) -> bool | None:
        """Wait a while until enough replicas have everything that was committed so far.

        WAIT looks at the writes of its own connection, so it goes out behind a renewal of the lease there, which
        lies behind the commit in the replication stream.

        Args:
            nonce: Of the owner.
            lease_ms: For how long the lease is renewed.
            audit: Sequence and head of the audit after the commit.

        Returns:
            Whether they have it; None when the commit is not there any more, or the lease was lost: another
            server has taken over since.
        """
        pipeline = Pipeline()
        key = self.keys.meta(self.partition)
        self._connection.add_script(pipeline, "renew", [key], [nonce, lease_ms, *audit])
        (is_there,), is_covered = await self._connection.run_covered(pipeline)
        return is_covered if is_there else None

    async def put_answer(self, partition: int, agent_id: str, instance: str, frame: Frame) -> None:
        """Put receipts into the replies of an instance of another partition."""
        pipeline = Pipeline()
        key = self.keys.replies(partition, agent_id, instance)
        pipeline.add("XADD", key, "*", "h", frame.header, "b", frame.body)
        pipeline.add("PEXPIRE", key, REPLIES_EXPIRY_MS)
        await self._connection.run(pipeline)

    async def breakers(self) -> dict[str, bytes]:
        """Records of circuits that are open, and what operators want of them.

        Raises:
            InternalError: The key holds something else.
        """
        return hash_of(await self._connection.call("HGETALL", self.keys.breakers(self.partition)))

    async def topics(self) -> dict[str, bytes]:
        """What is known of topics and of who keeps a place in their logs, sealed.

        Raises:
            InternalError: One of the keys holds something else.
        """
        pipeline = Pipeline()
        pipeline.add("HGETALL", self.keys.topics(self.partition))
        pipeline.add("HLEN", self.keys.topic_sizes(self.partition))
        records, _ = await self._connection.run(pipeline)
        return hash_of(records)

    async def held_messages(self) -> int:
        """How many messages wait for a person, at most."""
        return int(await self._connection.call("HLEN", self.keys.held(self.partition)))

    async def scheduled_messages(self) -> list[tuple[str, int]]:
        """Name of each message that is sent for later, and when it is due."""
        key = self.keys.later(self.partition)
        reply = await self._connection.call("ZRANGE", key, 0, -1, "WITHSCORES")
        pairs = zip(reply[::2], reply[1::2], strict=True)
        prefix = SCHEDULE_PREFIX.encode()
        return [
            (name.decode(errors="replace"), int(float(due))) for name, due in pairs if name.startswith(prefix)
        ]

    def lookups(self) -> Lookups:
        """A new set of questions to be answered in one round trip."""
        return Lookups(self._connection, self.keys, self.partition)


def _meta(fields: Mapping[str, str]) -> Meta:
    return Meta(
        epoch=fields["epoch"],
        layout=fields.get("layout", ""),
        audit_seq=fields.get("audit_seq", ""),
        audit_head=fields.get("audit_head", ""),
        policy_revision=fields.get("policy_revision", ""),
        cursors={lane: fields.get(f"cursor:{lane}", "") for lane in LANES},
        operator_cursor=fields.get(f"cursor:{OPERATOR_LANE}", ""),
        frames_since=int(fields.get("restored_at", "") or 0),
    )
