"""What the audit tells of the time after a backup, so that a restore undoes nothing in silence that was to stay.

Tokens that were revoked since, agents that were removed since, dead letters that were retried or dropped since,
approvals that were decided since and scheduled messages that went out since: none of that comes back alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mas_core.model.audit_record import AuditRecord
from mas_core.model.scheduled import schedule_id
from mas_core.ops import audit
from mas_core.ops.audit_filter import AuditFilter
from mas_core.ops.backup.contents import Manifest
from mas_core.ops.system import System

_LETTERS_GONE = frozenset({"dlq.retried", "dlq.ended"})
_APPROVALS_DONE = frozenset({"approval.approved", "approval.rejected", "approval.expired"})
_SCHEDULES_DONE = frozenset({"schedule.delivered", "schedule.cancelled", "schedule.held"})
_KINDS = ("operator", *sorted(_LETTERS_GONE | _APPROVALS_DONE | _SCHEDULES_DONE))


@dataclass(slots=True)
class Since:
    """What happened after a backup, as far as records of it are at hand."""

    revoked: set[str] = field(default_factory=set)
    """Ids of keys that were revoked."""
    removed: set[str] = field(default_factory=set)
    """Agents that were deregistered, and not registered again."""
    letters: set[str] = field(default_factory=set)
    """Dead letters that were retried, or ended for good."""
    approvals: set[str] = field(default_factory=set)
    """Held messages about which somebody decided, or that expired."""
    schedules: set[str] = field(default_factory=set)
    """Scheduled messages that were delivered, cancelled, or are held."""
    policy_changes: int = 0
    operator_acts: int = 0
    is_cut: bool = False
    """Whether a record was too short to name everything that it is about."""

    def take(self, record: AuditRecord) -> None:
        """Take in one record."""
        details = record.details
        if record.kind in _LETTERS_GONE:
            self.letters.add(str(details.get("dead_letter", "")))
        elif record.kind in _APPROVALS_DONE:
            self.approvals.add(str(details.get("approval", "")))
        elif record.kind in _SCHEDULES_DONE:
            self.schedules.add(schedule_id(record.target, record.sender, record.message_id))
        elif record.kind == "operator" and record.decision == "done" and record.actor:
            self.operator_acts += 1
            change = details.get("change")
            if isinstance(change, Mapping):
                self._take_change(str(details.get("write", "")), change)

    def _take_change(self, write: str, change: Mapping[str, object]) -> None:
        if write == "policy":
            self.policy_changes += 1
        if write != "registry":
            return
        agents, removed = change.get("agents", []), change.get("removed", [])
        named = sum(len(part) for part in (agents, removed) if isinstance(part, list))
        self.is_cut |= "cut" in change or named < _number(change.get("count"))
        if isinstance(removed, list):
            self.removed.update(map(str, removed))
        for item in agents if isinstance(agents, list) else ():
            if isinstance(item, Mapping):
                self.removed.discard(str(item.get("agent", "")))
                revoked = item.get("revoked", [])
                self.revoked.update(map(str, revoked) if isinstance(revoked, list) else ())


async def since(system: System, manifest: Manifest) -> Since:
    """What the evidence folder and the store tell of the time after a backup began."""
    found = Since()
    for kind in _KINDS:
        wanted = AuditFilter(kind=kind, since=manifest.begun)
        async for item in audit.records(system, wanted, newest_first=False, warn=_nobody):
            found.take(item.record)
    return found


def _nobody(_text: str) -> None:
    """What is missing is told by whoever restores."""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
