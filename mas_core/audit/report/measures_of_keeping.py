"""Measures of the audit itself: that it is whole, that others hold a copy of its proof, how long it is kept."""

from __future__ import annotations

from typing import Final

from mas_core.audit.report.document import Figure, Gap, Measure, Table
from mas_core.audit.report.facts import Facts
from mas_core.audit.report.measure_parts import counted
from mas_core.audit.report.tally import Tally
from mas_core.base.clock import rfc3339

LATE_RECORDS: Final = 256
LATE_MS: Final = 60_000


def integrity(_: Tally, facts: Facts) -> Measure:
    """That no record was changed, removed or put in."""
    title = "Integrity of the records"
    if facts.proofs is None:
        why = facts.unknown.get("proofs", "it was not asked for")
        gap = Gap(f"the records were not verified: {why}", ("mas audit verify",))
        return Measure("integrity", title, gaps=(gap,))
    broken = [proof for proof in facts.proofs if not proof.ok]
    gaps = tuple(
        Gap(
            f"the chain of partition {proof.partition} in the {proof.place} is broken at record "
            f"{proof.first_bad}: {proof.problem}; "
            f"records up to {proof.verified_to} are beyond doubt",
            ("mas audit verify",),
        )
        for proof in broken
    )
    if facts.checkpoints and not facts.is_pinned:
        gaps += (
            Gap(
                "signatures were checked with the key that lies beside the records, not with one kept apart",
                ("mas audit key show", "mas audit report --key FILE"),
            ),
        )
    rows = tuple(
        (
            proof.partition,
            proof.place,
            "holds" if proof.ok else proof.kind or "broken",
            proof.records,
            proof.verified_to,
            proof.head,
            proof.problem,
        )
        for proof in facts.proofs
    )
    return Measure(
        "integrity",
        title,
        (
            Figure(
                "chains that hold, in the store and in the evidence folder",
                f"{len(facts.proofs) - len(broken)} of {len(facts.proofs)}",
            ),
            Figure("records verified, of all times", sum(proof.records for proof in facts.proofs)),
            Figure("verified", rfc3339(facts.generated)),
            Figure("key of the signatures", "kept apart" if facts.is_pinned else "not kept apart"),
        ),
        gaps,
        Table(
            ("partition", "place", "chain", "records", "beyond doubt to", "hash of that record", "problem"),
            rows,
        ),
    )


def checkpoints(_: Tally, facts: Facts) -> Measure:
    """That the state of the records is signed and kept outside of the store."""
    title = "Signed checkpoints outside of the store"
    if not facts.checkpoints:
        why = facts.unknown.get("checkpoints", "none was found")
        gap = Gap(
            f"no signed checkpoint is known ({why}): whoever runs the store could rewrite the whole log unseen",
            ("mas audit notary run",),
        )
        return Measure("checkpoints", title, gaps=(gap,))
    gaps = tuple(
        Gap(
            f"the newest checkpoint of partition {state.partition} covers {state.size} of {state.stored} records",
            ("mas audit notary status",),
        )
        for state in facts.checkpoints
        if state.stored - state.size > LATE_RECORDS and facts.generated - state.time > LATE_MS
    )
    missing = facts.partitions - len(facts.checkpoints)
    if missing > 0:
        gaps += (
            Gap(f"{counted(missing, 'partition')} without a signed checkpoint", ("mas audit notary status",)),
        )
    rows = tuple(
        (state.partition, state.size, state.stored, rfc3339(state.time) if state.time else "unknown")
        for state in facts.checkpoints
    )
    return Measure(
        "checkpoints",
        title,
        (
            Figure("partitions with a checkpoint", f"{len(facts.checkpoints)} of {facts.partitions}"),
            Figure("records covered by checkpoints", sum(state.size for state in facts.checkpoints)),
        ),
        gaps,
        Table(("partition", "records covered", "records stored", "time"), rows),
    )


def keeping(tally: Tally, facts: Facts) -> Measure:
    """How long records are kept, and how far back they reach."""
    first = rfc3339(tally.first) if tally.records else "none"
    figures = [Figure("oldest record of the period", first)]
    if facts.keeping is None:
        why = facts.unknown.get("keeping", "none is set")
        gap = Gap(
            f"no policy of keeping records is in force ({why})",
            ("mas audit retention list", "mas audit retention set FRAMEWORK"),
        )
        return Measure("keeping", "Keeping of records", tuple(figures), (gap,))
    kept = facts.keeping
    figures += [
        Figure("policy", kept.framework or "own"),
        Figure("days in the store", kept.hot_days or "for ever"),
        Figure("days in segments or an archive", kept.archive_days or "for ever"),
        Figure("after that", "deleted" if kept.deletes else "still kept"),
    ]
    return Measure("keeping", "Keeping of records", tuple(figures))
