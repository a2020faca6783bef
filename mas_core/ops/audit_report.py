"""The report for auditors: gathers what it needs, streams the records of the period, and writes it down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.checkpoint_log import newest_note
from mas_core.audit.evidence_reader import open_plain
from mas_core.audit.evidence_writer import CHECKPOINTS_FILE, partition_folder
from mas_core.audit.note import Note
from mas_core.audit.report.catalogue import STANDARDS, parse_standards
from mas_core.audit.report.document import Report, Standard
from mas_core.audit.report.facts import (
    CheckpointState,
    Credential,
    CredentialState,
    Facts,
    Keeping,
    PolicyChange,
    PolicyState,
    Proof,
)
from mas_core.audit.report.making import make_report
from mas_core.audit.report.markdown import markdown
from mas_core.audit.report.page import page
from mas_core.audit.report.period import Period, parse_period
from mas_core.audit.report.tally import Tally
from mas_core.errors import MasError, UnknownFormat
from mas_core.model.policy import PolicyDocument, Rule
from mas_core.model.retention import YEAR_DAYS, in_force
from mas_core.ops import audit
from mas_core.ops.evidence import system_evidence, verify_evidence
from mas_core.ops.system import System

__all__ = ["FORMATS", "STANDARDS", "Period", "Report", "parse_period", "parse_standards", "render", "report"]


_WRITERS: Final[dict[str, Callable[[Report], str]]] = {
    "md": markdown,
    "html": page,
    "json": lambda found: msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n",
}
FORMATS: Final = tuple(_WRITERS)
"""What a report can be written as."""


async def report(
    system: System,
    standards: Sequence[Standard] | str = "all",
    period: Period | str = "30d",
    *,
    pinned: Sequence[str] = (),
    told: Callable[[int], None] = lambda _: None,
) -> Report:
    """Report what the records of a period say about the controls of some standards.

    Records are read one after the other: memory does not grow with their number.

    Args:
        system: The system.
        standards: Standards, or their names as `parse_standards` takes them.
        period: A span, or one as `parse_period` takes it.
        pinned: Public keys that signatures of the audit have to be of, as text or as names of files.
        told: Told how many records were read.

    Raises:
        UsageError: A name, the period or a key is none.
        StoreUnreachable: The server does not answer.
    """
    now = await system.store.connection.time_ms()
    span = parse_period(period, now) if isinstance(period, str) else period
    chosen = parse_standards(standards) if isinstance(standards, str) else tuple(standards)
    tally = Tally(span)
    wanted = audit.AuditFilter(since=span.since, until=span.until)
    async with aclosing(audit.records(system, wanted, newest_first=False)) as records:
        number = 0
        async for found in records:
            tally.add(found.partition, found.record)
            number += 1
            told(number)
    return make_report(tally, await _facts(system, span, now, pinned), chosen)


def render(found: Report, format_name: str) -> bytes:
    """The report as one of `FORMATS`.

    Raises:
        UnknownFormat: The format is none of these.
    """
    if format_name not in _WRITERS:
        raise UnknownFormat(
            f"{format_name!r} is no format of a report", hint=f"use one of {', '.join(FORMATS)}"
        )
    return _WRITERS[format_name](found).encode()


async def _facts(system: System, period: Period, now: int, pinned: Sequence[str]) -> Facts:
    unknown: dict[str, str] = {}
    policy, credentials, kept = None, None, None
    try:
        document = await system.policy.load() or PolicyDocument()
        policy = await _policy(system, document, period)
        kept = _keeping(document)
    except MasError as error:
        unknown["policy"] = unknown["keeping"] = error.message
    try:
        credentials = await _credentials(system, period, now)
    except MasError as error:
        unknown["credentials"] = error.message
    proofs = await _proofs(system, pinned)
    return Facts(
        system=system.target.name or system.store.namespace,
        generated=now,
        by=system.actor,
        partitions=system.store.width,
        proofs=proofs,
        checkpoints=_checkpoints(system, proofs),
        is_pinned=bool(pinned),
        policy=policy,
        credentials=credentials,
        keeping=kept,
        unknown=unknown,
    )


async def _proofs(system: System, pinned: Sequence[str]) -> tuple[Proof, ...]:
    return tuple(
        Proof(
            item.partition,
            item.result.ok,
            item.result.records,
            item.result.verified_to,
            item.result.head,
            item.result.first_bad,
            item.result.problem,
            item.result.place,
            item.result.kind,
            item.result.covered,
        )
        for item in await verify_evidence(system, pinned=pinned)
    )


def _checkpoints(system: System, proofs: Sequence[Proof]) -> tuple[CheckpointState, ...] | None:
    """What signed checkpoints cover, by the verification; None where no evidence folder is known."""
    folder = system_evidence(system)
    if folder is None:
        return None
    covered: dict[int, int] = {}
    stored: dict[int, int] = {}
    for proof in proofs:
        covered[proof.partition] = max(covered.get(proof.partition, 0), proof.covered)
        stored[proof.partition] = max(stored.get(proof.partition, 0), proof.verified_to)
    return tuple(
        CheckpointState(partition, size, _signed_at(folder, partition), stored[partition])
        for partition, size in sorted(covered.items())
        if size
    )


def _signed_at(folder: Path, partition: int) -> int:
    """When the newest checkpoint was signed, Unix milliseconds; 0 when that cannot be read."""
    try:
        with open_plain(partition_folder(folder, partition) / CHECKPOINTS_FILE) as file:
            note, _ = newest_note(file.fileno())
        return Checkpoint.parse(Note.parse(note).text).time if note is not None else 0
    except (MasError, OSError):
        return 0


async def _policy(system: System, document: PolicyDocument, period: Period) -> PolicyState:
    history = await system.policy.history(0)
    changes = [
        PolicyChange(item.revision, item.changed_at, item.changed_by, item.change)
        for item in reversed(history)
        if period.since <= item.changed_at < period.until
    ]
    oldest = history[-1] if history else None
    return PolicyState(
        revision=document.revision,
        features={name: getattr(document.features, name) for name in document.features.__struct_fields__},
        rules=len(document.rules),
        open_rules=tuple(rule.id for rule in document.rules if _is_open(rule)),
        lasting_rules=sum(rule.effect == "allow" and not rule.expires for rule in document.rules),
        roles=len(document.roles),
        detection_off=tuple(sorted(name for name, action in document.dlp_actions.items() if action == "off")),
        standings={agent: item.kind for agent, item in document.standings.items()},
        blocked=len(document.blocked),
        changes=tuple(changes),
        is_history_whole=oldest is None or oldest.revision <= 1 or oldest.changed_at < period.since,
    )


def _keeping(document: PolicyDocument) -> Keeping | None:
    rule = in_force(document.retention)
    if rule is None:
        return None
    names = ", ".join(sorted(document.retention))
    return Keeping(rule.hot_days, rule.archive_years * YEAR_DAYS, names, rule.delete)


def _is_open(rule: Rule) -> bool:
    return rule.effect == "allow" and (rule.sender, rule.target, rule.type, rule.action) == ("*",) * 4


async def _credentials(system: System, period: Period, now: int) -> CredentialState:
    entries = await system.registry.entries()
    every = [
        Credential(entry.agent_id, key.key_id, kind, key.created, key.expires, key.revoked)
        for entry in entries
        for kind, keys in (("token", entry.registration.keys), ("key", entry.registration.decryption_keys))
        for key in keys
    ]
    valid = [item for item in every if not item.revoked and (not item.expires or now < item.expires)]
    return CredentialState(
        agents=len(entries),
        valid=len(valid),
        lasting=sum(item.kind == "token" and not item.expires for item in valid),
        made=tuple(item for item in every if period.since <= item.created < period.until),
        revoked=tuple(item for item in every if item.revoked and period.since <= item.revoked < period.until),
        forged=tuple(sorted(system.registry.forged)),
    )
