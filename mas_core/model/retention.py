"""How long audit records are kept: at hand in the store, and after that in archived segments.

Nothing is in force until somebody adopts it. Of several frameworks in force the longest time counts, and what
is older goes only when each of them says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

DAY_MS: Final = 86_400_000
YEAR_DAYS: Final = 366
"""A year is counted long, so that nothing goes a day early."""

MOST_DAYS: Final = 36_500
MOST_YEARS: Final = 100


class RetentionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long one framework wants records to be kept."""

    hot_days: int = 90
    """Days for which they stay in the store; after that the evidence folder and the archive have them."""
    archive_years: int = 7
    """Years for which segments are kept at least."""
    delete: bool = False
    """Whether segments that are older than that are deleted; their hashes stay."""


class Framework(NamedTuple):
    """What a framework usually means."""

    rule: RetentionRule
    source: str
    """Where the times come from."""


FRAMEWORKS: Final[Mapping[str, Framework]] = {
    "hipaa": Framework(RetentionRule(90, 6), "45 CFR 164.316(b)(2)(i): six years"),
    "soc2": Framework(RetentionRule(90, 7), "the criteria name no number; seven years is what is usual"),
    "gdpr": Framework(RetentionRule(90, 6), "article 5(1)(e) names no number: say why you need as long"),
    "pci": Framework(RetentionRule(90, 1), "PCI DSS 4.0.1, 10.5.1: twelve months, three of them at hand"),
    "sox": Framework(RetentionRule(90, 7), "17 CFR 210.2-06: seven years"),
}
"""Frameworks that can be adopted by name; others take their times as arguments."""


def usual_rule(framework: str) -> RetentionRule:
    """What a framework means when nothing else is said; 90 days and 7 years for one that is not known."""
    known = FRAMEWORKS.get(framework)
    return known.rule if known is not None else RetentionRule()


def in_force(rules: Mapping[str, RetentionRule]) -> RetentionRule | None:
    """What all these together ask for; None when there is none, and then everything stays where it is."""
    if not rules:
        return None
    return RetentionRule(
        hot_days=max(rule.hot_days for rule in rules.values()),
        archive_years=max(rule.archive_years for rule in rules.values()),
        delete=all(rule.delete for rule in rules.values()),
    )


def describe_retention(rule: RetentionRule | None) -> str:
    """In words."""
    if rule is None:
        return "none"
    after = "then deleted" if rule.delete else "then still kept"
    return f"{rule.hot_days} days in the store, {rule.archive_years} years in the archive, {after}"
