"""Makes a backup while the system runs.

What a backup promises: each thing in it is as it was at one moment between `begun` and `ended`, and what was there
all the while is in it. What is kept for later is read before the dead letters, so that a message that is given up
meanwhile is in both rather than in neither; the manifest names those, and they count as dead letters.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from mas_core.base.clock import rfc3339
from mas_core.base.ids import new_message_id
from mas_core.errors import Conflict, UsageError
from mas_core.model.dead_letter import END_PREFIX, ORDER_PREFIX, LetterFacts, facts_purpose
from mas_core.model.queue_order import TRIM_PREFIX
from mas_core.ops.audit_files import newest_note
from mas_core.ops.audit_sources import evidence_folder
from mas_core.ops.backup.backup_file import BackupWriter
from mas_core.ops.backup.contents import (
    FORMAT,
    VERSION,
    AgentLine,
    CircuitLine,
    DeadLine,
    LaterLine,
    Line,
    Manifest,
    PartFacts,
    PartitionFacts,
    PolicyLine,
    StateLine,
)
from mas_core.ops.backup.line_checks import LineCheck
from mas_core.ops.backup.sealed_keys import seal_keys
from mas_core.ops.system import System
from mas_core.registry.operator_log import acting
from mas_core.registry.signed import verified
from mas_core.settings.private_files import private_dir, private_writer
from mas_core.settings.project_config import load_config
from mas_core.store.backups import BackedLetter, Position

SUFFIX: Final = ".zip"
FOLDER: Final = "backups"
OnProgress = Callable[[int], object]


async def default_path(system: System) -> Path:
    """Where a backup of a system goes unless somebody says otherwise; its name has the time in it.

    Raises:
        UsageError: There is no project, so nobody knows.
    """
    if system.target.project is None:
        raise UsageError("no project is at hand, so say where the backup goes", hint="--out FILE")
    now = rfc3339(await system.store.records.time_ms())
    stamp = now.replace("-", "").replace(":", "").replace(".", "-")
    name = f"{system.store.namespace}-{stamp}{SUFFIX}"
    return private_dir(system.target.project.data_dir / FOLDER) / name


async def create(
    system: System, path: Path, *, passphrase: str = "", on_progress: OnProgress = lambda _done: None
) -> Manifest:
    """Write a backup: whole or not at all, mode 0600.

    Args:
        system: The system; its gateways may run.
        path: The file; one that is there is not replaced.
        passphrase: Include private keys and tokens, encrypted under it; without one they are left out.
        on_progress: Told how many things are written.

    Raises:
        Conflict: The file is there.
        ConfigurationError: It cannot be written.
        SecretUnavailable: The gateway's keys are not at hand.
        AuditUnavailable: It cannot be recorded that there is a backup.
    """
    _require_free(path)
    keys = system.keys
    change: dict[str, object] = {"file": path.name, "keys": bool(passphrase)}
    with acting("backup.create", path.name):
        async with system.operator_log.writing("backup", change=change) as noted:
            with private_writer(path) as file, BackupWriter(file) as writer:
                manifest = await _Copy(system, writer, on_progress).run()
                if passphrase:
                    if system.target.keys_dir is None:
                        raise UsageError("no folder of keys is known for this system")
                    sealed, _ = seal_keys(system.target.keys_dir, system.target.tokens_dir, passphrase)
                    manifest = msgspec.structs.replace(manifest, keys=writer.add_keys(sealed))
                writer.finish(manifest, keys)
            noted.facts = {**change, "backup": manifest.id, "lines": counts_of(manifest)}
    return manifest


def _require_free(path: Path) -> None:
    if os.path.lexists(path):
        raise Conflict(f"{path} is there already", hint="mas backup create --out FILE", path=str(path))


def counts_of(manifest: Manifest) -> dict[str, int]:
    """How many things of each kind a backup holds; of the policy its versions."""
    return {name: facts.lines for name, facts in manifest.parts.items()}


class _Copy:
    """One copy of everything into a file."""

    def __init__(self, system: System, writer: BackupWriter, on_progress: OnProgress) -> None:
        self._system = system
        self._backups = system.store.backups
        self._writer = writer
        self._on_progress = on_progress
        self._done = self._ignored = self._policy_revision = 0
        self._check = LineCheck(system.keys, system.store.partitions)
        self._moved: list[list[str]] = [[] for _ in range(system.store.partitions)]

    async def run(self) -> Manifest:
        """Write all parts; the manifest over them."""
        system, backups = self._system, self._backups
        begun = await system.store.records.time_ms()
        before = await backups.positions()
        await self._policy()
        await self._registrations()
        await self._states()
        await self._later()
        await self._letters(before)
        await self._circuits()
        frames, undelivered = await backups.undelivered()
        after = await backups.positions()
        folder = evidence_folder(system.target)
        return Manifest(
            FORMAT,
            VERSION,
            new_message_id(),
            system.store.namespace,
            tuple(
                PartitionFacts(
                    then.seq,
                    then.head,
                    then.epoch,
                    first.seq,
                    newest_note(folder, partition),
                    tuple(self._moved[partition]),
                )
                for partition, (first, then) in enumerate(zip(before, after, strict=True))
            ),
            system.keys.key_id,
            begun,
            await system.store.records.time_ms(),
            system.actor,
            self._parts(),
            self._policy_revision,
            self._ignored,
            frames,
            undelivered,
            system.target.profile,
            _settings_of(system),
        )

    def _parts(self) -> dict[str, PartFacts]:
        return dict(self._writer.parts)

    def _add(self, add: Callable[[Line], None], line: Line) -> bool:
        """Add a line, unless somebody without the gateway's keys wrote what it holds: nobody could restore it."""
        if self._check.problem(line):
            self._ignored += 1
            return False
        add(line)
        self._done += 1
        self._on_progress(self._done)
        return True

    async def _policy(self) -> None:
        fields = await self._system.store.records.policy()
        in_force = fields.get("document", b"")
        with self._writer.part("policy") as add:
            async for revision, document, mac in self._backups.policy_versions():
                if document == in_force:
                    break
                self._add(add, PolicyLine(revision, document, mac))
            if in_force:
                line = PolicyLine(int(fields.get("revision", 0)), in_force, fields.get("mac", b""))
                if self._add(add, line):
                    self._policy_revision = line.revision

    async def _registrations(self) -> None:
        with self._writer.part("agents") as add:
            for partition in range(self._system.store.partitions):
                async for agent, record, mac in self._backups.registrations(partition):
                    self._add(add, AgentLine(agent, record.decode(errors="replace"), mac))

    async def _states(self) -> None:
        with self._writer.part("states") as add:
            names = await self._backups.agents_with_state()
            async for agent, revision, ordered, data in self._backups.states(names):
                self._add(add, StateLine(agent, revision, ordered, data))

    async def _later(self) -> None:
        with self._writer.part("later") as add:
            for partition in range(self._system.store.partitions):
                async for items in self._backups.later(partition):
                    for item in items:
                        # Orders are an operator's wish of the moment, and the ends of dropped dead letters
                        # come back with these.
                        if not item.name.startswith((ORDER_PREFIX, END_PREFIX, TRIM_PREFIX)):
                            self._add(
                                add,
                                LaterLine(
                                    partition, item.name, item.due, item.body, item.facts, item.decision
                                ),
                            )

    async def _letters(self, before: list[Position]) -> None:
        with self._writer.part("dead") as add:
            for partition, position in enumerate(before):
                async for letters in self._backups.letters(partition):
                    for letter in letters:
                        line = DeadLine(partition, letter.entry, letter.fields, letter.dropped_until)
                        if self._add(add, line):
                            self._note_move(partition, position, letter)

    def _note_move(self, partition: int, position: Position, letter: BackedLetter) -> None:
        text = verified(self._system.keys, facts_purpose(partition), letter.fields.get("facts", b""))
        if text is not None and msgspec.json.decode(text, type=LetterFacts).seq > position.seq:
            self._moved[partition].append(letter.fields.get("message_id", b"").decode(errors="replace"))

    async def _circuits(self) -> None:
        with self._writer.part("circuits") as add:
            for partition in range(self._system.store.partitions):
                for field, record in sorted((await self._backups.circuits(partition)).items()):
                    self._add(add, CircuitLine(partition, field, record))


def _settings_of(system: System) -> dict[str, object]:
    """The plain values that mas.yaml says, secrets masked; what agents are given is no part of it."""
    project = system.target.project
    if project is None:
        return {}
    return {
        setting.name: setting.value
        for setting in load_config(project).settings()
        if setting.source == "project" and isinstance(setting.value, str | int | float)
    }
