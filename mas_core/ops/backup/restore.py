"""Puts a backup back: looks at all of it first, then writes part after part, and can be repeated where it stopped.

Nothing comes back to life in silence. What was revoked, retried, dropped or decided after the backup stays so, as
far as the evidence or the store still knows; what cannot be known is told. Order matters while gateways run: an
agent has its state before it can come in, and finds the policy before anything is delivered to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

import msgspec

from mas_core.errors import Conflict
from mas_core.model.policy import PolicyDocument
from mas_core.model.registration import AgentKey, DecryptionKey, Registration
from mas_core.model.standing import ISOLATING
from mas_core.ops.backup.backup_file import BackupReader
from mas_core.ops.backup.contents import (
    PARTS,
    AgentLine,
    CircuitLine,
    DeadLine,
    LaterLine,
    Manifest,
    Part,
    PolicyLine,
    StateLine,
)
from mas_core.ops.backup.line_checks import LineCheck, checked_lines
from mas_core.ops.backup.plan import Plan, require_room
from mas_core.ops.backup.returning import Returning, merged_registration
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.store.backups import AGENTS, PART, STATES

OnProgress = Callable[[int], object]
Item = TypeVar("Item")

VERSIONS = 16


@dataclass(slots=True)
class Restored:
    """What a restore did."""

    manifest: Manifest
    restored: Counter[str] = field(default_factory=Counter)
    """Part -> things that were written."""
    left: Counter[str] = field(default_factory=Counter)
    """Part -> things that were not: they are there, or what was done since counts more."""
    revoked: list[str] = field(default_factory=list)
    """Agents of which a token of the backup was revoked since, and stays so."""


def check_contents(
    system: System, reader: BackupReader, manifest: Manifest, on_progress: OnProgress = lambda _done: None
) -> int:
    """Look at every line of a backup; how many there are.

    Raises:
        BackupInvalid: The backup is not what was written.
    """
    check = LineCheck(system.keys, len(manifest.partitions))
    done = 0
    for part in PARTS:
        for _ in checked_lines(reader, manifest, part, check):
            done += 1
            on_progress(done)
    return done


async def restore(
    system: System,
    reader: BackupReader,
    plan: Plan,
    *,
    force: bool = False,
    without: Collection[Part] = (),
    on_progress: OnProgress = lambda _done: None,
) -> Restored:
    """Put a backup back; in force when this returns. Interrupted, it is repeated with the same call.

    Args:
        system: The system; its gateways may run.
        reader: The backup.
        plan: What `plan` said of both.
        force: The system may hold something: what is there and in the backup is replaced, and the rest stays.
        without: Parts to leave out.
        on_progress: Told how many lines are done: each is read twice.

    Raises:
        BackupInvalid: The backup is not what was written; nothing was changed.
        Conflict: The system holds something, or was changed by somebody else meanwhile.
        AuditUnavailable: It cannot be recorded, so nothing was changed.
    """
    require_room(plan, force=force, file=str(reader.path))
    manifest = plan.manifest
    done = check_contents(system, reader, manifest, on_progress)
    change: dict[str, object] = {
        "backup": manifest.id,
        "of": manifest.begun,
        "forced": force and not plan.there.is_empty,
        "resumed": plan.is_resumed,
        "without": sorted(without),
        "audit": [[item.begin, item.seq] for item in plan.audit][:100],
        "backup_audit": [[item.seq, item.head] for item in manifest.partitions][:100],
    }
    with acting("backup.restore", manifest.id):
        async with system.operator_log.writing("backup", change=change) as noted:
            restored = await _Restore(system, reader, plan, frozenset(without), done, on_progress).run()
            noted.facts = {**change, **_facts(restored)}
    return restored


class _Restore:
    """One restore, part after part."""

    def __init__(
        self,
        system: System,
        reader: BackupReader,
        plan: Plan,
        without: frozenset[Part],
        done: int,
        on_progress: OnProgress,
    ) -> None:
        self._system = system
        self._backups = system.store.backups
        self._reader = reader
        self._plan = plan
        self._without = without
        self._done = done
        self._on_progress = on_progress
        self._marks = list(plan.marks)
        self._result = Restored(plan.manifest)
        self._returning = Returning(system.keys, plan.manifest, plan.since, plan.audit)

    async def run(self) -> Restored:
        """Carry it out."""
        manifest, backups = self._plan.manifest, self._backups
        now = await self._system.store.records.time_ms()
        if not self._plan.is_resumed:
            await backups.begin_restore(manifest.id, self._system.actor, now)
        self._marks = list(await backups.marks())
        for item in self._plan.audit:
            await backups.set_position(
                item.partition, epoch=item.epoch, seq=item.seq, head=item.head, frames_since=now
            )
        await self._states()
        await self._registrations(now)
        await self._policy()
        await self._circuits()
        await self._letters()
        await self._later()
        await self._system.store.records.raise_revision()
        await backups.end_restore()
        return self._result

    def _lines(self, part: Part, kind: type[Item]) -> Iterator[Item]:
        if part in self._without:
            self._result.left[part] += self._plan.manifest.parts[part].lines
            return
        for line in self._reader.lines(part, self._plan.manifest):
            if isinstance(line, kind):
                self._done += 1
                self._on_progress(self._done)
                yield line

    def _note(self, part: Part, restored: int, of: int) -> None:
        self._result.restored[part] += restored
        self._result.left[part] += of - restored

    async def _states(self) -> None:
        for some in _chunks(self._lines("states", StateLine), STATES):
            texts = [(line.agent, line.revision, line.ordered, line.data) for line in some]
            self._note("states", await self._backups.put_states(texts), len(some))

    async def _registrations(self, now: int) -> None:
        keys, store = self._system.keys, self._system.store
        for some in _chunks(self._lines("agents", AgentLine), AGENTS):
            entries = await self._system.registry.entries([line.agent for line in some])
            there = {entry.agent_id: entry.registration for entry in entries}
            writes = []
            for line in some:
                found = msgspec.json.decode(line.record, type=Registration)
                current = there.get(line.agent)
                wanted = merged_registration(found, current, self._plan.since, now)
                if wanted == current:
                    continue
                text, mac = line.record.encode(), line.mac
                if wanted != found:
                    text = msgspec.json.encode(wanted)
                    mac = keys.mac(f"registration:{line.agent}", text)
                    self._result.revoked += [line.agent] * (_revoked(wanted) > _revoked(found))
                writes.append((line.agent, text, mac))
            if writes:
                await store.records.put_registrations(writes)
            self._note("agents", len(writes), len(some))

    async def _policy(self) -> None:
        records, system = self._system.store.records, self._system
        fields = await records.policy()
        newest = None
        if "document" not in fields:
            known = await records.policy_history(1)
            after = int(known[0].get("revision", b"0")) if known else 0
            for some in _chunks(self._lines("policy", PolicyLine), VERSIONS):
                newest = some[-1]
                older = [
                    (line.revision, line.document, line.mac)
                    for line in some
                    if after < line.revision < self._plan.manifest.policy_revision
                ]
                await self._backups.put_policy_versions(older)
                self._note("policy", len(older), len(some))
            if newest is not None and newest.revision == self._plan.manifest.policy_revision:
                if not await records.put_policy(0, newest.revision, newest.document, newest.mac):
                    raise Conflict("the policy was changed by somebody else meanwhile", hint="try again")
                self._note("policy", 1, 1)
                self._result.left["policy"] -= 1
            return
        for line in self._lines("policy", PolicyLine):
            newest = line
        if newest is None or newest.revision != self._plan.manifest.policy_revision:
            return
        earlier = msgspec.json.decode(newest.document, type=PolicyDocument)
        before = int(fields.get("revision", b"0"))
        after_change = await system.policy.change(
            lambda document: policy_of(document, earlier, self._plan.manifest.id)
        )
        self._note("policy", int(after_change.revision != before), self._plan.manifest.parts["policy"].lines)

    async def _circuits(self) -> None:
        for partition, lines in groupby(self._lines("circuits", CircuitLine), lambda line: line.partition):
            found = {line.field: line.record for line in lines}
            await self._backups.put_circuits(partition, found)
            self._note("circuits", len(found), len(found))

    async def _letters(self) -> None:
        for partition, lines in groupby(self._lines("dead", DeadLine), lambda line: line.partition):
            mark = self._marks[partition]
            at = mark.dead if mark is not None else 0
            for first, some in _rest(lines, at):
                wanted = [back for line in some if (back := self._returning.letter(line)) is not None]
                added = await self._backups.put_letters(partition, first, first + len(some), wanted)
                self._note("dead", added, len(some))

    async def _later(self) -> None:
        for partition, lines in groupby(self._lines("later", LaterLine), lambda line: line.partition):
            mark = self._marks[partition]
            at = mark.later if mark is not None else 0
            for first, some in _rest(lines, at):
                wanted = [item for line in some if (item := self._returning.item(line)) is not None]
                added = await self._backups.put_later(partition, first, first + len(some), wanted)
                self._note("later", added, len(some))


def policy_of(document: PolicyDocument, earlier: PolicyDocument, backup: str) -> PolicyDocument:
    """The policy of a backup over the one in force: what isolates an agent now still does."""
    isolated = {name: item for name, item in document.standings.items() if item.kind in ISOLATING}
    wanted = msgspec.structs.replace(
        earlier,
        revision=document.revision,
        last_rule=max(document.last_rule, earlier.last_rule),
        standings={**earlier.standings, **isolated},
        blocked={**earlier.blocked, **document.blocked},
        revoked_certificates={**earlier.revoked_certificates, **document.revoked_certificates},
        changed_by=document.changed_by,
        changed_at=document.changed_at,
        change=document.change,
    )
    if wanted == document:
        return document
    return msgspec.structs.replace(wanted, change=f"restore the backup {backup}")


def _facts(restored: Restored) -> Mapping[str, object]:
    return {"restored": dict(restored.restored), "left": {k: v for k, v in restored.left.items() if v}}


def _revoked(registration: Registration) -> int:
    keys: tuple[AgentKey | DecryptionKey, ...] = (*registration.keys, *registration.decryption_keys)
    return sum(bool(key.revoked) for key in keys)


def _chunks(lines: Iterable[Item], size: int) -> Iterator[list[Item]]:
    some: list[Item] = []
    for line in lines:
        some.append(line)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some


def _rest(lines: Iterable[Item], done: int) -> Iterator[tuple[int, list[Item]]]:
    """Parts of what comes after the first `done` lines, each with how many come before it."""
    at = 0
    some: list[Item] = []
    for line in lines:
        at += 1
        if at <= done:
            continue
        some.append(line)
        if len(some) == PART:
            yield at - PART, some
            some = []
    if some:
        yield at - len(some), some
