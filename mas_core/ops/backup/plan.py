"""What a restore would do to a system: what is there, what happened since the backup, and what has to be known."""

from __future__ import annotations

from dataclasses import dataclass

from mas_core.errors import Conflict
from mas_core.ops.audit_sources import evidence_folder
from mas_core.ops.backup.backup_file import BackupReader
from mas_core.ops.backup.contents import Manifest
from mas_core.ops.backup.positions import Continuation, continuations, evidence_end
from mas_core.ops.backup.since import Since, since
from mas_core.ops.system import System
from mas_core.store.backups import Occupancy, RestoreMark


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore would do."""

    manifest: Manifest
    there: Occupancy
    """What the store holds now."""
    since: Since
    audit: tuple[Continuation, ...]
    marks: tuple[RestoreMark | None, ...]
    known_to: int
    """Up to which record of partition 0, which has what operators do, it is known what happened."""

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on with a restore of the same backup that was interrupted."""
        mark = self.marks[0]
        return mark is not None and mark.backup == self.manifest.id

    @property
    def other(self) -> str:
        """Another backup whose restore was interrupted; empty when there is none."""
        mark = self.marks[0]
        return "" if mark is None or mark.backup == self.manifest.id else mark.backup


async def plan(system: System, reader: BackupReader) -> Plan:
    """Look at a backup and at the system, and change nothing.

    Raises:
        BackupInvalid: The backup is another system's, or was changed.
        Conflict: The system has another name or number of partitions.
        SecretUnavailable: The gateway's keys are not at hand.
    """
    manifest = reader.manifest(system.keys, system.keys.key_id)
    store = system.store
    if manifest.namespace != store.namespace:
        raise Conflict(
            f"the backup is of the namespace {manifest.namespace}, and this is {store.namespace}",
            hint=f"namespace: {manifest.namespace}",
        )
    if len(manifest.partitions) != store.partitions:
        raise Conflict(
            f"the backup is of {len(manifest.partitions)} partitions, and this system has {store.partitions}; "
            "what is sealed in it counts for its own partition only",
            hint=f"set `partitions: {len(manifest.partitions)}` in mas.yaml, and change the number afterwards",
        )
    folder = evidence_folder(system.target)
    positions = await store.backups.positions()
    known_to = max(positions[0].seq, evidence_end(folder, 0)[0])
    return Plan(
        manifest,
        await store.backups.occupancy(),
        await since(system, manifest),
        continuations(manifest, positions, folder),
        tuple(await store.backups.marks()),
        known_to,
    )


def require_room(plan: Plan, *, force: bool, file: str = "FILE") -> None:
    """Make sure that a restore replaces nothing that nobody gave up.

    Raises:
        Conflict: The system holds something, or another restore was interrupted.
    """
    if force or plan.is_resumed:
        return
    again = f"mas backup restore {file} --force"
    if plan.other:
        raise Conflict(
            f"the restore of the backup {plan.other} was interrupted: repeat it, or say --force", hint=again
        )
    if not plan.there.is_empty:
        raise Conflict(
            f"the system is not empty: it holds {there_of(plan.there)}",
            hint=(f"mas backup restore {file} --dry-run --force", again),
        )


def there_of(there: Occupancy) -> str:
    """What a store holds, in words."""
    counts = {
        "agents": there.agents,
        "states": there.states,
        "messages for later": there.later,
        "dead letters": there.dead_letters,
        "circuits": there.circuits,
    }
    found = [f"{what} ({count:,})" for what, count in counts.items() if count]
    return ", ".join([*found, *([f"a policy (revision {there.policy})"] if there.policy else [])])


def warnings_of(plan: Plan) -> list[str]:
    """What whoever restores has to know, in words."""
    found = [item.problem for item in plan.audit if item.problem]
    manifest, later = plan.manifest, plan.since
    if plan.known_to < manifest.partitions[0].begun_seq or plan.audit[0].is_new_log:
        found.append(
            "what was revoked or forbidden after the backup is not known here and counts again: "
            "look at mas agent list and mas rbac list"
        )
    elif later.is_cut:
        found.append(
            "some records of what was revoked after the backup name only a part of it: "
            "look at mas audit list --kind operator"
        )
    if later.policy_changes and not plan.there.policy:
        found.append(
            f"the policy was changed {later.policy_changes} times after the backup, which is lost: "
            "look at mas audit list --kind operator"
        )
    if manifest.parts["later"].lines:
        found.append(
            "messages that waited for another attempt are delivered again, even where they were since; "
            "leave them out with --without later"
        )
    return found
