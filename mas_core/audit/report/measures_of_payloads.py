"""Measures of what messages carried: what the scan found, what was encrypted, what was signed."""

from __future__ import annotations

from typing import Final

from mas_core.audit.report.document import Figure, Gap, Measure, Table
from mas_core.audit.report.facts import Facts
from mas_core.audit.report.measure_parts import LISTED, counted, left_out, unknown
from mas_core.audit.report.tally import FindingKey, Tally

_STOPPED: Final = ("block", "redact", "encrypt")


def scan(tally: Tally, facts: Facts) -> Measure:
    """What the scan found, of every kind."""
    return _findings(tally, facts, "scan", "Sensitive data in messages", "")


def cards(tally: Tally, facts: Facts) -> Measure:
    """What the scan found of payment cards."""
    return _findings(tally, facts, "cards", "Payment card data in messages", "pci")


def health(tally: Tally, facts: Facts) -> Measure:
    """What the scan found about health."""
    return _findings(tally, facts, "health", "Health data in messages", "phi")


def personal(tally: Tally, facts: Facts) -> Measure:
    """What the scan found about people."""
    return _findings(tally, facts, "personal", "Personal data in messages", "pii")


def _findings(tally: Tally, facts: Facts, name: str, title: str, category: str) -> Measure:
    gaps = []
    policy = facts.policy
    if policy is None:
        gaps.append(unknown(facts, "policy", "whether payloads are scanned"))
    else:
        if not policy.features.get("dlp", False):
            gaps.append(
                Gap("the scan of payloads is switched off now", ("features: {dlp: true} in mas.yaml",))
            )
        if off := [item for item in policy.detection_off if not category or item in {category, "*"}]:
            gaps.append(Gap(f"the policy does not look for: {', '.join(off)}", ("mas dlp rules",)))
    if tally.encrypted:
        gaps.append(
            Gap(
                f"{counted(tally.encrypted, 'message')} end-to-end encrypted, so nobody looked into the payload"
            )
        )
    found = {key: count for key, count in tally.findings.items() if category in {"", key.category}}
    alerted = _with_action(found, ("alert",))
    if category and alerted:
        gaps.append(
            Gap(f"{counted(alerted, 'finding')} delivered as found, with an alert only", ("mas dlp rules",))
        )
    figures = [
        Figure("findings", sum(found.values())),
        Figure("of which blocked, masked or encrypted", _with_action(found, _STOPPED)),
        Figure("of which delivered with an alert", alerted),
        Figure("messages refused because they could not be scanned", tally.decisions["unscannable"]),
    ]
    if not category:
        figures.insert(0, Figure("messages in which something was found", tally.with_findings))
    rows = sorted(
        ((key.rule, key.category, key.action, count) for key, count in found.items()),
        key=lambda row: (-row[3], row[0]),
    )
    note = left_out(tally.other_findings + max(0, len(rows) - LISTED), "further kinds or findings")
    return Measure(
        name,
        title,
        tuple(figures),
        tuple(gaps),
        Table(("found", "category", "action", "times"), tuple(rows[:LISTED]), note),
    )


def _with_action(found: dict[FindingKey, int], actions: tuple[str, ...]) -> int:
    return sum(count for key, count in found.items() if key.action.startswith(actions))


def encryption(tally: Tally, _: Facts) -> Measure:
    """What was encrypted on the way."""
    return Measure(
        "encryption",
        "Encryption on the way",
        (
            Figure(
                "messages in frames sealed between agent and gateway (AES-256-GCM)", tally.decisions.total
            ),
            Figure("of which end-to-end encrypted by their sender", tally.encrypted),
        ),
    )


def signatures(tally: Tally, facts: Facts) -> Measure:
    """What senders signed."""
    gaps: tuple[Gap, ...] = ()
    if facts.policy is None:
        gaps = (unknown(facts, "policy", "whether messages have to be signed"),)
    elif not facts.policy.features.get("message_signing", False):
        gaps = (
            Gap(
                "senders need not sign messages, so a record rests on the gateway's word for who sent it",
                ("features: {message_signing: true} in mas.yaml",),
            ),
        )
    figures = (
        Figure("messages with a signature of their sender that was checked", tally.signed),
        Figure("messages decided", tally.decisions.total),
    )
    return Measure("signatures", "Signatures of messages", figures, gaps)
