"""From tally and facts to the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from mas_core.audit.report.document import SCHEMA, Gap, Measure, Report, Silence, Standard, Stretch
from mas_core.audit.report.facts import Facts
from mas_core.audit.report.measures import NAMES, measure
from mas_core.audit.report.tally import Tally
from mas_core.base.clock import rfc3339

WORDS: Final = (
    "These are records that support the controls named here, as far as each says. "
    "The report does not say that anybody meets a standard: that is for the auditor to judge, "
    "and each control names what its records do not cover."
)

_RETENTION: Final = ("mas audit retention list",)


def make_report(tally: Tally, facts: Facts, standards: Sequence[Standard]) -> Report:
    """The report about the records that `tally` has counted."""
    period = tally.period
    now = min(period.until, facts.generated)
    wanted = {name for item in standards for control in item.controls for name in control.measures}
    measures = {
        name: measure(name, tally, facts) for name in NAMES if name in wanted | {"records", "integrity"}
    }
    if "keeping" in measures:
        measures["keeping"] = _compared(measures["keeping"], facts, standards)
    return Report(
        schema=SCHEMA,
        words=WORDS,
        system=facts.system,
        by=facts.by,
        generated=rfc3339(facts.generated),
        period=period.text,
        since=rfc3339(period.since),
        until=rfc3339(period.until),
        is_over=period.until <= facts.generated,
        records=tally.records,
        messages=tally.decisions.total,
        delivered=tally.delivered,
        refused=tally.refused,
        findings=sum(tally.findings.values()) + tally.other_findings,
        is_intact=None if facts.proofs is None else all(proof.ok for proof in facts.proofs),
        stretch_s=tally.bucket_ms // 1000,
        over_time=tuple(
            Stretch(rfc3339(item.start), item.delivered, item.held, item.refused, item.others)
            for item in tally.buckets
        ),
        refused_by_decision=tuple(tally.stopped()),
        findings_by_rule=tuple(tally.found_by_rule()),
        silences=tuple(
            Silence(rfc3339(begin), rfc3339(end), before_first=not tally.first or end <= tally.first)
            for begin, end in tally.silences(now)
        ),
        measures=measures,
        standards=tuple(standards),
    )


def _compared(found: Measure, facts: Facts, standards: Iterable[Standard]) -> Measure:
    """How long records are kept against how long the standards want them."""
    kept = facts.keeping
    if kept is None:
        return found
    gaps = list(found.gaps)
    for item in standards:
        if 0 < kept.archive_days < item.keep_days:
            text = f"records are kept for {kept.archive_days} days; {item.title} asks for {item.keep_days}"
            gaps.append(Gap(text, _RETENTION, item.name))
        if 0 < kept.hot_days < item.hot_days:
            text = f"records are at hand for {kept.hot_days} days; {item.title} asks for {item.hot_days}"
            gaps.append(Gap(text, _RETENTION, item.name))
    return msgspec.structs.replace(found, gaps=tuple(gaps))
