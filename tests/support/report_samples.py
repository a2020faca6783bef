"""Reports made without a system: facts and records as a test wants them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from mas_core.audit.report.catalogue import parse_standards
from mas_core.audit.report.document import Report
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
from mas_core.audit.report.period import parse_period
from mas_core.audit.report.tally import Tally
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Finding

NOW = 1_795_262_400_000
"""2026-11-21T12:00:00Z."""
DAY = 86_400_000

WHOLE = Facts(
    system="orders",
    generated=NOW,
    by="ana@ops-1",
    proofs=(Proof(0, ok=True, records=40, verified_to=40, head="ab" * 32),),
    is_pinned=True,
    checkpoints=(CheckpointState(0, size=40, time=NOW, stored=40),),
    policy=PolicyState(
        revision=7,
        features={"rbac": True, "dlp": True, "message_signing": True},
        rules=3,
        open_rules=(),
        lasting_rules=0,
        roles=1,
        detection_off=(),
        standings={},
        blocked=0,
        changes=(PolicyChange(7, NOW - DAY, "ana@ops-1", "allow billing -> ledger"),),
    ),
    credentials=CredentialState(
        agents=2, valid=2, lasting=0, made=(Credential("billing", "4f1c", "token", NOW - DAY, NOW + DAY, 0),)
    ),
    keeping=Keeping(hot_days=90, archive_days=2190),
)
"""A system in which nothing is amiss."""


def records(days: int = 30) -> list[AuditRecord]:
    """One message a day up to now, and everything that controls ask for once."""
    usual = [
        AuditRecord(number + 1, NOW - number * DAY - 1, decision="allowed", sender="billing", target="ledger")
        for number in range(days)
    ]
    acts = [
        AuditRecord(1, NOW - DAY, kind, decision, "month end", type=action, actor="ana@ops-1")
        for kind, decision, action in (
            ("operator", "begun", "rule.add"),
            ("operator", "done", "rule.add"),
            ("audit.query", "asked", "audit.list"),
        )
    ]
    return usual + acts


def hostile(text: str) -> list[AuditRecord]:
    """Records that have `text` wherever a record has text."""
    return [
        AuditRecord(
            1, NOW - 1, kind, text, text, text, text, text, text, text,
            findings=(Finding(text, text, text, 0, 1, text),), actor=text,
            details={"command": text, "subjects": [text]},
        )
        for kind in ("message", "operator", "audit.query", text)
    ]  # fmt: skip


def report_of(
    given: Iterable[AuditRecord],
    facts: Facts = WHOLE,
    standards: str = "all",
    period: str = "30d",
    **changed: Any,
) -> Report:
    """The report about these records."""
    tally = Tally(parse_period(period, facts.generated))
    for record in given:
        tally.add(0, record)
    return make_report(tally, msgspec.structs.replace(facts, **changed), parse_standards(standards))


def with_policy(**changed: Any) -> Facts:
    """`WHOLE` with another policy."""
    assert WHOLE.policy is not None
    return msgspec.structs.replace(WHOLE, policy=msgspec.structs.replace(WHOLE.policy, **changed))
