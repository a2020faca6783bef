"""What is measured for the controls: each measure turns the tally and the facts into figures and gaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mas_core.audit.report import measures_of_payloads as payloads
from mas_core.audit.report.document import Figure, Gap, Measure, Table
from mas_core.audit.report.facts import Facts
from mas_core.audit.report.measure_parts import LISTED, counted, left_out, unknown
from mas_core.audit.report.measures_of_keeping import checkpoints, integrity, keeping
from mas_core.audit.report.tally import Tally
from mas_core.base.clock import rfc3339

TOP: Final = 20
"""Rows of a table of what came most often."""


def _records(tally: Tally, facts: Facts) -> Measure:
    gaps = []
    since = tally.period.since
    now = min(tally.period.until, facts.generated)
    if not tally.records:
        gaps.append(Gap("there is no record of this period", ("mas audit list --limit 1 --oldest-first",)))
    elif quiet := [item for item in tally.silences(now) if item[1] - item[0] >= tally.bucket_ms]:
        longest = max(quiet, key=lambda item: item[1] - item[0])
        if quiet[0][0] == since:
            gaps.append(
                Gap(
                    f"nothing is recorded from the start of the period to {rfc3339(tally.first)}: "
                    "either nothing happened, or the records begin later",
                    ("mas audit list --oldest-first --limit 1",),
                )
            )
        if quiet[0][0] != since or len(quiet) > 1:
            gaps.append(
                Gap(
                    f"{counted(len(quiet), 'stretch', 'stretches')} without any record, the longest from "
                    f"{rfc3339(longest[0])} to {rfc3339(longest[1])}: either nothing happened, or nothing ran",
                    ("mas gateway status",),
                )
            )
    figures = [
        Figure("records in the period", tally.records),
        Figure("first record", rfc3339(tally.first) if tally.records else "none"),
        Figure("last record", rfc3339(tally.last) if tally.records else "none"),
        Figure("messages decided", tally.decisions.total),
        Figure("messages with a keyed fingerprint of the payload", tally.fingerprinted),
    ]
    return Measure(
        "records", "Records", tuple(figures), tuple(gaps), _top(("kind", "records"), tally.kinds.most())
    )


def _decisions(tally: Tally, _: Facts) -> Measure:
    scheduled = tally.decisions["scheduled"]
    return Measure(
        "decisions",
        "Decisions about messages",
        (
            Figure("messages decided", tally.decisions.total),
            Figure("delivered", tally.delivered),
            Figure("refused", tally.refused),
            Figure("held for a person", tally.decisions["held"]),
            *((Figure("sent for later", scheduled),) if scheduled else ()),
        ),
        (),
        _top(("decision", "messages"), tally.decisions.most()),
    )


def _access(tally: Tally, facts: Facts) -> Measure:
    gaps = []
    figures = [
        Figure("refused because no rule allows it, or one forbids it", tally.decisions["denied"]),
        Figure("refused because an agent was isolated", tally.decisions["quarantined"]),
    ]
    policy = facts.policy
    if policy is None:
        gaps.append(unknown(facts, "policy", "which rules are in force"))
    else:
        figures += [
            Figure("rules in force now", policy.rules),
            Figure("roles", policy.roles),
            Figure("agents blocked now", policy.blocked),
        ]
        if not policy.features.get("rbac", False):
            gaps.append(Gap("access rules are switched off now", ("features: {rbac: true} in mas.yaml",)))
        if policy.open_rules:
            gaps.append(
                Gap(
                    "rules let everybody send anything to everybody: " + ", ".join(policy.open_rules),
                    tuple(f"mas rbac revoke {rule}" for rule in policy.open_rules[:3]),
                )
            )
    table = _top(("sender and target", "refused"), tally.refused_pairs.most(TOP), tally.refused_pairs)
    return Measure("access", "Access rules", tuple(figures), tuple(gaps), table)


def _access_changes(_: Tally, facts: Facts) -> Measure:
    policy = facts.policy
    if policy is None:
        return Measure(
            "access_changes",
            "Changes of the policy",
            gaps=(unknown(facts, "policy", "how the policy changed"),),
        )
    gaps = []
    if not policy.is_history_whole:
        gaps.append(Gap("revisions of the policy from this period are no longer kept", ("mas rbac history",)))
    if nameless := sum(not item.by for item in policy.changes):
        gaps.append(Gap(f"{counted(nameless, 'change')} of the policy without the name of who made it"))
    newest = policy.changes[-LISTED:]
    rows = tuple((item.revision, rfc3339(item.time), item.by, item.change) for item in reversed(newest))
    older = len(policy.changes) - len(newest)
    return Measure(
        "access_changes",
        "Changes of the policy",
        (
            Figure("changes in the period", len(policy.changes)),
            Figure("made by so many people or programs", len({item.by for item in policy.changes})),
            Figure("revision now", policy.revision),
        ),
        tuple(gaps),
        Table(("revision", "time", "who", "change"), rows, left_out(older, "older changes")),
    )


def _identities(tally: Tally, facts: Facts) -> Measure:
    failed = tally.failed_identities
    figures = [
        Figure(
            "frames and messages whose sender could not prove who it is, or that came twice", failed.total
        ),
        Figure("instances of agents that came", tally.kinds["agent.attach"]),
        Figure("instances of agents that left", tally.kinds["agent.detach"]),
    ]
    gaps = []
    if facts.credentials is None:
        gaps.append(unknown(facts, "credentials", "which agents are registered"))
    else:
        figures.insert(0, Figure("registered agents, each with a token of its own", facts.credentials.agents))
        if forged := facts.credentials.forged:
            gaps.append(
                Gap(
                    "records of agents in the store are not this system's and were ignored: "
                    + ", ".join(forged[:10]),
                    ("mas agent list",),
                )
            )
    return Measure(
        "identities",
        "Identities",
        tuple(figures),
        tuple(gaps),
        _top(("record and decision", "times"), failed.most(TOP), failed),
    )


def _credentials(_: Tally, facts: Facts) -> Measure:
    found = facts.credentials
    if found is None:
        gap = unknown(facts, "credentials", "which tokens and keys were made and revoked")
        return Measure("credentials", "Tokens and keys", gaps=(gap,))
    events = sorted(
        [(item.created, "made", item) for item in found.made]
        + [(item.revoked, "revoked", item) for item in found.revoked],
        key=lambda item: item[:2],
    )
    rows = tuple(
        (
            rfc3339(time),
            what,
            item.agent,
            item.kind,
            item.key_id,
            rfc3339(item.expires) if item.expires else "never",
        )
        for time, what, item in reversed(events[-LISTED:])
    )
    gaps: tuple[Gap, ...] = ()
    if found.lasting:
        tokens = f"{counted(found.lasting, 'valid token')} without an end"
        gaps = (Gap(tokens, ("mas agent token rotate AGENT --expires 90d",)),)
    return Measure(
        "credentials",
        "Tokens and keys",
        (
            Figure("made in the period", len(found.made)),
            Figure("revoked in the period", len(found.revoked)),
            Figure("valid now", found.valid),
        ),
        gaps,
        Table(
            ("time", "event", "agent", "kind", "key", "ends"),
            rows,
            left_out(len(events) - len(rows), "older events"),
        ),
    )


def _acts(tally: Tally, _: Facts) -> Measure:
    gaps = []
    if not tally.kinds["operator"]:
        gaps.append(
            Gap(
                "no act of an operator is recorded in the chain in this period",
                ("mas audit list --kind operator",),
            )
        )
    if tally.acts_without_reason:
        nameless = counted(tally.acts_without_reason, "act of an operator", "acts of operators")
        gaps.append(Gap(f"{nameless} without a reason", ("--reason TEXT",)))
    if tally.unvouched:
        entries = counted(tally.unvouched, "entry", "entries")
        gaps.append(
            Gap(
                f"{entries} about acts of operators that nobody vouches for: forged, played back, "
                "or made without the gateway's keys",
                ("mas audit list --kind operator --decision unauthenticated",),
            )
        )
    if (open_acts := tally.acts_begun - tally.acts_ended) > 0:
        gaps.append(
            Gap(
                f"{counted(open_acts, 'act of an operator', 'acts of operators')} begun, and no end is recorded",
                ("mas audit list --kind operator",),
            )
        )
    newest = list(tally.acts)[-LISTED:]
    rows = tuple(
        (
            rfc3339(act.time),
            f"{act.partition}:{act.seq}",
            act.actor,
            act.action if act.outcome == "done" else f"{act.action} ({act.outcome})",
            act.subjects,
            act.reason,
        )
        for act in reversed(newest)
    )
    return Measure(
        "acts",
        "Acts of operators",
        (
            Figure("acts recorded in the chain", tally.act_count),
            Figure("by so many people or programs", len(tally.actors)),
            Figure("without a reason", tally.acts_without_reason),
            Figure("entries that nobody vouches for", tally.unvouched),
        ),
        tuple(gaps),
        Table(
            ("time", "record", "who", "what", "about", "reason"),
            rows,
            left_out(tally.act_count - len(newest), "older acts"),
        ),
    )


def _incidents(tally: Tally, facts: Facts) -> Measure:
    standings = facts.policy.standings if facts.policy else {}
    rows = tuple((agent, kind) for agent, kind in sorted(standings.items()))
    return Measure(
        "incidents",
        "Answers to incidents",
        (
            Figure("messages refused because an agent was isolated", tally.decisions["quarantined"]),
            Figure("circuits opened", tally.kinds["breaker.open"]),
            Figure("deliveries that agents refused as forged or repeated", tally.kinds["delivery.refused"]),
            Figure("agents paused, draining, quarantined or evicted now", len(standings)),
        ),
        (),
        Table(("agent", "state now"), rows),
    )


def _approvals(tally: Tally, _: Facts) -> Measure:
    return Measure(
        "approvals",
        "Approvals by people",
        (
            Figure("messages held", tally.decisions["held"]),
            Figure("approved", tally.kinds["approval.approved"]),
            Figure("rejected", tally.kinds["approval.rejected"]),
            Figure("ended without an answer", tally.kinds["approval.expired"]),
        ),
    )


def _failures(tally: Tally, _: Facts) -> Measure:
    names = ("rate_limited", "circuit_open", "backpressure", "store_full", "expired")
    lost = tally.kinds["delivery.dead"]
    gaps: tuple[Gap, ...] = ()
    if refused := tally.decisions["store_full"]:
        gaps = (Gap(f"{counted(refused, 'message')} refused because the store or the audit took no more"),)
    return Measure(
        "failures",
        "Failures and overload",
        (
            Figure("messages given up after their last attempt", lost),
            Figure("attempts that were repeated", tally.kinds["delivery.retry"]),
            *(Figure(f"refused: {name}", tally.decisions[name]) for name in names),
        ),
        gaps,
    )


def _audit_reads(tally: Tally, _: Facts) -> Measure:
    asked = tally.questions
    gaps: tuple[Gap, ...] = ()
    if not asked.total:
        gaps = (
            Gap(
                "no question to the audit is recorded in this period", ("mas audit list --kind audit.query",)
            ),
        )
    return Measure(
        "audit_reads",
        "Access to the audit",
        (
            Figure("questions recorded", asked.total),
            Figure("by so many people or programs", len(tally.askers)),
        ),
        gaps,
        _top(("who", "questions"), tally.askers.most(TOP), tally.askers),
    )


def _erasures(tally: Tally, _: Facts) -> Measure:
    erased = sum(count for name, count in tally.actions.most() if "erase" in name)
    return Measure(
        "erasures",
        "Erasures",
        (
            Figure("erasures of a subject's payload key", erased),
            Figure("payloads in the records themselves", "none; keyed fingerprints"),
        ),
    )


def _top(columns: tuple[str, str], rows: list[tuple[str, int]], names: object = None) -> Table:
    shown = tuple((name or "(none)", count) for name, count in rows)
    rest = 0
    if names is not None:
        rest = getattr(names, "total", 0) - sum(count for _, count in rows)
    return Table(columns, shown, left_out(rest, "times with less frequent names"))


_MEASURES: Final[dict[str, Callable[[Tally, Facts], Measure]]] = {
    "records": _records,
    "integrity": integrity,
    "checkpoints": checkpoints,
    "keeping": keeping,
    "decisions": _decisions,
    "access": _access,
    "access_changes": _access_changes,
    "identities": _identities,
    "credentials": _credentials,
    "acts": _acts,
    "audit_reads": _audit_reads,
    "scan": payloads.scan,
    "personal": payloads.personal,
    "health": payloads.health,
    "cards": payloads.cards,
    "encryption": payloads.encryption,
    "signatures": payloads.signatures,
    "approvals": _approvals,
    "incidents": _incidents,
    "failures": _failures,
    "erasures": _erasures,
}
NAMES: Final = tuple(_MEASURES)
"""Names of all measures, in the order in which a report shows them."""


def measure(name: str, tally: Tally, facts: Facts) -> Measure:
    """Figures and gaps of one of `NAMES`."""
    return _MEASURES[name](tally, facts)
