"""Reads and operator writes: registrations, policy, audit, dead letters, the live feed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mas_core.base.ids import AGENT_ID, partition_of
from mas_core.base.logs import get_logger
from mas_core.errors import Conflict, InternalError
from mas_core.model.priority import LANES
from mas_core.store.commits import KEPT_CHANGES
from mas_core.store.connection import Connection, Pipeline
from mas_core.store.keys import Keys
from mas_core.store.layouts import Layouts
from mas_core.store.stored import hash_of
from mas_core.store.user_admin import UserAdmin
from mas_core.store.wire import Argument

log = get_logger(__name__)

KEPT_REVISIONS = 1000
"""Revisions of the policy in its history; older ones are forgotten."""
AUDIT_PAGE = 32
"""Audit blocks read at once."""


PIPELINE_AGENTS = 1000
"""Agents that are read or written in one round trip."""

Item = TypeVar("Item")


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (items[first : first + PIPELINE_AGENTS] for first in range(0, len(items), PIPELINE_AGENTS))


@dataclass(frozen=True, slots=True)
class AuditBlock:
    """Consecutive audit records as stored; `last_seq` is what the store says of the last one."""

    last_seq: int
    entry: str
    text: bytes

    def records(self) -> list[bytes]:
        """The encoded records, oldest first."""
        return self.text.split(b"\n")


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """Which agents of a partition changed since the log was read last."""

    agent_ids: tuple[str, ...]
    read_to: str
    """Where to go on; empty while there is no log."""
    is_whole: bool
    """False when the log does not reach back so far: any agent may have changed."""


class Records:
    """The shared records of one system."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._layouts = Layouts(connection, keys)

    async def follow_layout(self) -> None:
        """Take over the number of partitions, if it was changed.

        Raises:
            Conflict: It is being changed just now.
        """
        if (await self._layouts.follow()).next:
            raise Conflict("the number of partitions is being changed", hint="mas partitions list")

    async def agent_ids(self, partition: int | None = None) -> list[str]:
        """Ids of all registered agents, or of those of one partition, sorted."""
        pipeline = Pipeline()
        for number in range(self._keys.width) if partition is None else (partition,):
            pipeline.add("SMEMBERS", self._keys.agents(number))
        replies = await self._connection.run(pipeline)
        names = (member.decode(errors="replace") for reply in replies for member in reply)
        return sorted(name for name in names if AGENT_ID.fullmatch(name))

    async def changed_agents(self, read_to: Sequence[str]) -> list[ChangeLog]:
        """For each partition the agents that changed since its log was read up to `read_to`."""
        pipeline = Pipeline()
        for partition, entry in enumerate(read_to):
            self._connection.add_script(
                pipeline, "read_changes", [self._keys.changed_agents(partition)], [entry]
            )
        replies = await self._connection.run(pipeline)
        return [_change_log(entry, reply) for entry, reply in zip(read_to, replies, strict=True)]

    async def agents(self, agent_ids: Sequence[str]) -> list[dict[str, bytes]]:
        """The registration hashes of these agents; empty ones for those that are not registered."""
        found: list[dict[str, bytes]] = []
        for chunk in _chunks(agent_ids):
            pipeline = Pipeline()
            for agent_id in chunk:
                partition = partition_of(agent_id, self._keys.partitions)
                pipeline.add("HGETALL", self._keys.agent(partition, agent_id))
            found += [hash_of(reply) for reply in await self._connection.run(pipeline)]
        return found

    async def put_registrations(self, registrations: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Write registrations (id, record, MAC); the caller raises the policy revision afterwards."""
        for chunk in _chunks(registrations):
            pipeline = Pipeline()
            for agent_id, record, mac in chunk:
                partition = partition_of(agent_id, self._keys.partitions)
                pipeline.add("HSET", self._keys.agent(partition, agent_id), "record", record, "mac", mac)
                pipeline.add("SADD", self._keys.agents(partition), agent_id)
                self._note_change(pipeline, partition, agent_id)
            await self._connection.run_safely(pipeline)

    async def delete_registrations(self, agent_ids: Sequence[str]) -> None:
        """Remove agents; their inboxes and their state stay."""
        for chunk in _chunks(agent_ids):
            pipeline = Pipeline()
            for agent_id in chunk:
                partition = partition_of(agent_id, self._keys.partitions)
                pipeline.add("DEL", self._keys.agent(partition, agent_id))
                pipeline.add("SREM", self._keys.agents(partition), agent_id)
                self._note_change(pipeline, partition, agent_id)
            await self._connection.run_safely(pipeline)

    def _note_change(self, pipeline: Pipeline, partition: int, agent_id: str) -> None:
        key = self._keys.changed_agents(partition)
        self._connection.add_script(pipeline, "note_change", [key], [agent_id, KEPT_CHANGES])

    async def close_connections(self, agent_id: str, *, for_good: bool) -> int:
        """Close the connections of an agent's own server user, where it has one; how many were closed.

        Args:
            agent_id: Whose connections.
            for_good: Remove the user as well, so that none comes back.
        """
        if self._connection.is_memory:
            return 0
        user = self._keys.server_user(agent_id)
        try:
            if await self._connection.call("ACL", "GETUSER", user) is None:
                return 0
            closed = int(await self._connection.call("CLIENT", "KILL", "USER", user))
            if for_good:
                # This closes what was opened since, too.
                await UserAdmin(self._connection).remove(user)
        except InternalError as error:
            log.warning("connections.kept", agent=agent_id, reason=error.message)
            return 0
        return closed

    async def backlogs(self, agent_ids: Sequence[str]) -> list[int]:
        """Unsettled messages of each of these agents."""
        if not agent_ids:
            return []
        pipeline = Pipeline()
        for agent_id in agent_ids:
            partition = partition_of(agent_id, self._keys.partitions)
            pipeline.add(
                "HMGET", self._keys.work(partition, agent_id), *(f"unsettled:{lane}" for lane in LANES)
            )
        replies = await self._connection.run(pipeline)
        return [sum(max(0, int(value or 0)) for value in reply) for reply in replies]

    async def waiting_retries(self, partition: int, agent_id: str) -> int:
        """Messages that an agent handed back and that are delivered to it again later."""
        names = await self._connection.call("ZRANGE", self._keys.later(partition), 0, -1)
        return sum(name.startswith(f"{agent_id}:".encode()) for name in names)

    async def breakers(self) -> list[dict[str, bytes]]:
        """Of each partition: records of circuits that are open, and what operators want of them."""
        pipeline = Pipeline()
        for partition in range(self._keys.width):
            pipeline.add("HGETALL", self._keys.breakers(partition))
        return [hash_of(reply) for reply in await self._connection.run(pipeline)]

    async def put_breaker_order(self, target: str, field: str, order: bytes) -> None:
        """Write what an operator wants of a target's circuits; the caller raises the revision afterwards."""
        partition = partition_of(target, self._keys.partitions)
        pipeline = Pipeline()
        pipeline.add("HSET", self._keys.breakers(partition), field, order)
        await self._connection.run_safely(pipeline)

    async def held(self) -> list[dict[str, bytes]]:
        """Of each partition: facts of the messages that wait for a person, and what was decided."""
        pipeline = Pipeline()
        for partition in range(self._keys.width):
            pipeline.add("HGETALL", self._keys.held(partition))
        return [hash_of(reply) for reply in await self._connection.run(pipeline)]

    async def held_fields(self, partition: int, *fields: str) -> list[bytes | None]:
        """Some of these of one partition."""
        return list(await self._connection.call("HMGET", self._keys.held(partition), *fields))

    async def body_for_later(self, partition: int, name: str) -> bytes | None:
        """A message that is kept for later, sealed."""
        reply = await self._connection.call("HGET", self._keys.later_bodies(partition), name)
        return bytes(reply) if reply is not None else None

    async def decide(
        self, partition: int, name: str, item: str, field: str, decision: bytes
    ) -> tuple[str, bytes]:
        """Decide about a held message, once: ok, missing, late, or decided with what was decided before."""
        keys = self._keys
        pipeline = Pipeline()
        self._connection.add_script(
            pipeline,
            "decide",
            [keys.held(partition), keys.later(partition), keys.later_bodies(partition)],
            [name, item, field, decision],
        )
        (reply,) = await self._connection.run_safely(pipeline)
        return reply[0].decode(), reply[1]

    async def approval_outcome(self, partition: int, approval_id: str) -> bytes | None:
        """What became of a message that was held; None while that is open, or long ago."""
        reply = await self._connection.call("HGET", self._keys.approval(partition, approval_id), "outcome")
        return bytes(reply) if reply is not None else None

    async def policy(self) -> dict[str, bytes]:
        """Revision, document and MAC of the policy; empty when there is none."""
        return hash_of(await self._connection.call("HGETALL", self._keys.policy()))

    async def put_policy(self, expected: int, revision: int, document: bytes, mac: bytes) -> bool:
        """Replace the policy if its revision is still the expected one."""
        pipeline = Pipeline()
        keys = [self._keys.policy(), self._keys.policy_history()]
        arguments: list[Argument] = [expected, revision, document, mac, KEPT_REVISIONS]
        self._connection.add_script(pipeline, "set_policy", keys, arguments)
        (reply,) = await self._connection.run_safely(pipeline)
        return bool(reply[0])

    async def policy_history(self, newest: int) -> list[dict[str, bytes]]:
        """Revision, document and MAC of the newest revisions, newest first; 0 for all."""
        count = ("COUNT", newest) if newest else ()
        reply = await self._connection.call("XREVRANGE", self._keys.policy_history(), "+", "-", *count)
        return [{name.decode(): value for name, value in dict_of(fields).items()} for _entry, fields in reply]

    async def payload_copy(self, partition: int, seq: int) -> bytes | None:
        """The sealed copy of the payload of a record; None when there is none, or none any more."""
        reply = await self._connection.call("HGET", self._keys.payload_copies(partition), seq)
        return bytes(reply) if reply is not None else None

    async def drop_payload_copies(self, partition: int, seqs: Sequence[int]) -> None:
        """Remove sealed copies, such as those of records that left the store."""
        for chunk in _chunks([str(seq) for seq in seqs]):
            await self._connection.call("HDEL", self._keys.payload_copies(partition), *chunk)

    async def add_operator_entry(self, text: bytes, mac: bytes) -> None:
        """Add an entry to the operator log; it stays until a gateway has recorded it.

        Raises:
            InternalError: The log takes no entries.
        """
        pipeline = Pipeline()
        pipeline.add("XADD", self._keys.operator_log(), "*", "h", mac, "b", text)
        await self._connection.run_safely(pipeline)

    async def unrecorded_operator_entries(self) -> int:
        """Entries of the operator log that no gateway has recorded yet."""
        return int(await self._connection.call("XLEN", self._keys.operator_log()))

    async def time_ms(self) -> int:
        """The server's clock, Unix milliseconds."""
        return await self._connection.time_ms()

    async def raise_revision(self) -> None:
        """Make every gateway read policy and registrations again before its next commit."""
        pipeline = Pipeline()
        for partition in range(self._keys.width):
            pipeline.add("HINCRBY", self._keys.meta(partition), "policy_revision", 1)
        await self._connection.run_safely(pipeline)

    async def metas(self) -> list[dict[str, bytes]]:
        """The meta hash of every partition."""
        pipeline = Pipeline()
        for partition in range(self._keys.width):
            pipeline.add("HGETALL", self._keys.meta(partition))
        return [hash_of(reply) for reply in await self._connection.run(pipeline)]

    async def waiting_frames(self) -> int:
        """Frames that wait for a gateway, over all partitions and lanes."""
        pipeline = Pipeline()
        for partition in range(self._keys.width):
            for lane in LANES:
                pipeline.add("XLEN", self._keys.ingress(partition, lane))
        return sum(int(length) for length in await self._connection.run(pipeline))

    async def waiting_frames_of(self, partition: int) -> int:
        """Frames that wait for the gateway of one partition."""
        pipeline = Pipeline()
        for lane in LANES:
            pipeline.add("XLEN", self._keys.ingress(partition, lane))
        return sum(int(length) for length in await self._connection.run(pipeline))

    async def dead_letters(self) -> int:
        """Dead letters that are not dropped, over all partitions."""
        pipeline = Pipeline()
        for partition in range(self._keys.width):
            pipeline.add("XLEN", self._keys.dead(partition))
            pipeline.add("ZCARD", self._keys.dropped(partition))
        replies = [int(reply) for reply in await self._connection.run(pipeline)]
        return max(0, sum(replies[::2]) - sum(replies[1::2]))

    async def audit_blocks(
        self, partition: int, *, first_seq: int = 1, last_seq: int | None = None, newest_first: bool = False
    ) -> AsyncIterator[AuditBlock]:
        """Audit blocks of a partition from the one that holds `first_seq` to that with `last_seq`, page by page."""
        key = self._keys.audit(partition)
        start, end = f"{first_seq}-0", "+"
        if last_seq is not None:
            # A block has the number of its last record.
            holder = await self._connection.call("XRANGE", key, f"{last_seq}-0", "+", "COUNT", 1)
            end = holder[0][0].decode() if holder else "+"
        while True:
            if newest_first:
                reply = await self._connection.call("XREVRANGE", key, end, start, "COUNT", AUDIT_PAGE)
            else:
                reply = await self._connection.call("XRANGE", key, start, end, "COUNT", AUDIT_PAGE)
            for entry, fields in reply:
                name = entry.decode()
                yield AuditBlock(int(name.partition("-")[0]), name, _audit_text(fields))
            if len(reply) < AUDIT_PAGE:
                return
            last = reply[-1][0].decode()
            if newest_first:
                end = f"({last}"
            else:
                start = f"({last}"

    async def trim_audit(self, partition: int, first_kept: int) -> int:
        """Take all audit blocks out whose last record comes before `first_kept`; how many blocks went."""
        key = self._keys.audit(partition)
        return int(await self._connection.call("XTRIM", key, "MINID", f"{first_kept}-0"))

    async def audit_head(self, partition: int) -> tuple[int, str]:
        """Sequence and hash of the last audit record, by the partition's meta."""
        seq, head = await self._connection.call(
            "HMGET", self._keys.meta(partition), "audit_seq", "audit_head"
        )
        return int(seq or 0), (head or b"").decode()

    async def first_audit_seq(self, partition: int) -> int:
        """Number of the first record that the store still has, or would write next when it has none."""
        async for block in self.audit_blocks(partition):
            return block.last_seq - len(block.records()) + 1
        seq, _ = await self.audit_head(partition)
        return seq + 1

    async def audit_heads(self) -> list[tuple[int, str]]:
        """Sequence and hash of the last audit record of every partition, by their metas."""
        pipeline = Pipeline()
        for partition in range(self._keys.width):
            pipeline.add("HMGET", self._keys.meta(partition), "audit_seq", "audit_head")
        return [
            (int(seq or 0), (head or b"").decode(errors="replace"))
            for seq, head in await self._connection.run(pipeline)
        ]

    async def note_notary(self, notary_id: str, status: bytes) -> None:
        """Write the heartbeat of a notary."""
        await self._connection.call("HSET", self._keys.notaries(), notary_id, status)

    async def forget_notary(self, notary_id: str) -> None:
        """Remove a notary that ended."""
        await self._connection.call("HDEL", self._keys.notaries(), notary_id)

    async def notaries(self) -> dict[str, bytes]:
        """Notary id -> its last heartbeat."""
        return hash_of(await self._connection.call("HGETALL", self._keys.notaries()))

    async def are_covered(self, newest: Mapping[int, AuditBlock]) -> bool:
        """Wait a while until enough replicas have these blocks, and all before them.

        Args:
            newest: For each partition the newest block that was read.

        Returns:
            False when a partition does not have its block any more: another server has taken over since.

        Raises:
            ReplicasBehind: They took too long.
        """
        if not (self._connection.replicas and newest):
            return True
        pipeline = Pipeline()
        for partition, block in newest.items():
            # Not for security: it tells whether the block is the one that was read.
            digest = hashlib.sha1(block.text).hexdigest()  # noqa: S324
            keys = [self._keys.meta(partition), self._keys.audit(partition)]
            self._connection.add_script(pipeline, "cover", keys, [block.last_seq, digest])
        return all(await self._connection.run_safely(pipeline))

    async def new_audit_blocks(
        self, after: dict[int, int], block_ms: int, count: int = AUDIT_PAGE
    ) -> list[tuple[int, AuditBlock]]:
        """Audit blocks after the given sequence of each partition, at most `count` of each; waits for the first."""
        partitions = sorted(after)
        reply = await self._connection.wait(
            "XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS",
            *(self._keys.audit(partition) for partition in partitions),
            *(f"{after[partition]}-0" for partition in partitions),
        )  # fmt: skip
        of_key = {self._keys.audit(partition).encode(): partition for partition in partitions}
        return [
            (of_key[key], AuditBlock(int(entry.partition(b"-")[0]), entry.decode(), _audit_text(fields)))
            for key, entries in reply or ()
            for entry, fields in entries
        ]


def dict_of(fields: Any) -> dict[bytes, bytes]:
    """The fields of a stream entry, in either shape."""
    if isinstance(fields, list):
        return dict(zip(fields[::2], fields[1::2], strict=False))
    return dict(fields)


def _audit_text(fields: Any) -> bytes:
    return dict_of(fields).get(b"r", b"")


def _change_log(entry: str, reply: Any) -> ChangeLog:
    found = [(name.decode(), _agent_in(fields)) for name, fields in reply or ()]
    newest = found[-1][0] if found else ""
    if not entry or not found or found[0][0] != entry:
        # What was read last is not there any more, so what came after it may be gone as well.
        return ChangeLog((), newest, is_whole=False)
    names = dict.fromkeys(agent_id for _, agent_id in found[1:])
    return ChangeLog(tuple(name for name in names if AGENT_ID.fullmatch(name)), newest, is_whole=True)


def _agent_in(fields: Any) -> str:
    if isinstance(fields, list):
        fields = dict(zip(fields[::2], fields[1::2], strict=False))
    value: bytes = fields.get(b"a", b"")
    return value.decode(errors="replace")
