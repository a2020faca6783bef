"""Changes to how long a policy document lets audit records be kept."""

from __future__ import annotations

import re

import msgspec

from mas_core.errors import NotFound, UsageError
from mas_core.model.policy import PolicyDocument
from mas_core.model.retention import MOST_DAYS, MOST_YEARS, YEAR_DAYS, RetentionRule, describe_retention

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def set_retention(document: PolicyDocument, framework: str, rule: RetentionRule | None) -> PolicyDocument:
    """The document with what one framework asks for.

    Args:
        document: The policy so far.
        framework: Its name: one of `FRAMEWORKS`, or another.
        rule: None takes it back.

    Raises:
        NotFound: It is to be taken back, and is not in force.
        UsageError: The name or a number makes no sense.
    """
    if rule is None:
        if framework not in document.retention:
            raise NotFound(f"no retention of {framework!r} is in force", hint="mas audit retention list")
    else:
        _check(framework, rule)
        if document.retention.get(framework) == rule:
            return document
    kept = {name: other for name, other in document.retention.items() if name != framework}
    if rule is not None:
        kept[framework] = rule
    return msgspec.structs.replace(
        document, retention=kept, change=f"retention of {framework}: {describe_retention(rule)}"
    )


def _check(framework: str, rule: RetentionRule) -> None:
    if not _NAME.fullmatch(framework):
        raise UsageError(
            f"{framework!r} cannot name a framework", hint="use small letters, digits, - and _: hipaa"
        )
    if not 0 <= rule.hot_days <= MOST_DAYS:
        raise UsageError(f"{rule.hot_days} days make no sense", hint=f"use 0 to {MOST_DAYS}")
    if not 0 <= rule.archive_years <= MOST_YEARS:
        raise UsageError(f"{rule.archive_years} years make no sense", hint=f"use 0 to {MOST_YEARS}")
    if rule.delete and rule.archive_years * YEAR_DAYS < rule.hot_days:
        raise UsageError(
            f"records cannot be deleted after {rule.archive_years} years and stay in the store for "
            f"{rule.hot_days} days",
            hint=f"mas audit retention set {framework} --hot-days 90 --archive-years 7",
        )
