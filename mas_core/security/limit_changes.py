"""Changes to the totals and ceilings of a policy document; the limits themselves are in `policy_changes`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from mas_core.base.ids import check_capability
from mas_core.errors import UsageError
from mas_core.model.policy import ANYONE, PolicyDocument, RateLimit
from mas_core.security.policy_changes import check_party, describe_limit
from mas_core.security.rate_limits import CAPABILITY, HIGHEST_PRIORITY, ROLE

_TOTAL = "total:"
Value = TypeVar("Value")


def set_total(document: PolicyDocument, name: str, limit: RateLimit | None) -> PolicyDocument:
    """The document with another total.

    Args:
        document: The policy so far.
        name: `role:NAME` for what its members send together, `capability:NAME` for what all send to those that
            have it.
        limit: None takes the total back.

    Raises:
        UsageError: The name or a number makes no sense, or there is no such role.
    """
    check_total_name(document, name)
    if limit is not None and min(limit.per_minute, limit.per_hour, limit.burst) < 0:
        raise UsageError("a rate limit cannot be negative")
    totals = {other: kept for other, kept in document.totals.items() if other != name}
    if limit is not None:
        totals[name] = limit
    if totals == document.totals:
        return document
    return msgspec.structs.replace(
        document, totals=totals, change=f"total of {name}: {describe_limit(limit)}"
    )


def check_total_name(document: PolicyDocument, name: str) -> None:
    """Make sure that there can be a total of this name.

    Raises:
        UsageError: It names neither a role nor a capability.
    """
    if name.startswith(CAPABILITY):
        check_capability(name.removeprefix(CAPABILITY))
    elif name.startswith(ROLE):
        check_party(document, name)
    else:
        raise UsageError(
            f"{name!r} has no total, since it is one agent",
            hint="totals are of role:NAME or capability:NAME",
        )


def set_ceiling(document: PolicyDocument, name: str, priority: int | None) -> PolicyDocument:
    """The document with another ceiling of priorities.

    Args:
        document: The policy so far.
        name: An agent id, `role:NAME`, or `*` for everybody without a ceiling of their own.
        priority: The highest that messages keep, 0 to 10; None takes the ceiling back.

    Raises:
        UsageError: The name or the number makes no sense, or there is no such role.
    """
    check_party(document, name)
    if priority is not None and not 0 <= priority <= HIGHEST_PRIORITY:
        raise UsageError(f"{priority} is not a priority", hint="use 0 to 10")
    ceilings = {other: kept for other, kept in document.ceilings.items() if other != name}
    if priority is not None:
        ceilings[name] = priority
    if ceilings == document.ceilings:
        return document
    words = "none" if priority is None else str(priority)
    return msgspec.structs.replace(document, ceilings=ceilings, change=f"highest priority of {name}: {words}")


def with_file_limits(
    document: PolicyDocument,
    limits: Mapping[str, RateLimit],
    totals: Mapping[str, RateLimit],
    ceilings: Mapping[str, int],
) -> PolicyDocument:
    """The document with the limits that files say; what commands have changed since the last loading stays.

    Args:
        document: The policy so far.
        limits: Name, or `*` for everybody -> limit.
        totals: `role:NAME` or `capability:NAME` -> limit.
        ceilings: Name, or `*` for everybody -> priority.
    """
    said = {**limits, **{f"{_TOTAL}{name}": limit for name, limit in totals.items()}}
    current = {
        ANYONE: document.default_limit,
        **document.limits,
        **{f"{_TOTAL}{name}": limit for name, limit in document.totals.items()},
    }
    merged = merged_with_files(current, document.limits_of_files, said)
    return msgspec.structs.replace(
        document,
        default_limit=merged.pop(ANYONE, RateLimit()),
        limits={name: limit for name, limit in merged.items() if not name.startswith(_TOTAL)},
        totals={
            name.removeprefix(_TOTAL): limit for name, limit in merged.items() if name.startswith(_TOTAL)
        },
        ceilings=merged_with_files(document.ceilings, document.ceilings_of_files, ceilings),
        limits_of_files=said,
        ceilings_of_files=dict(ceilings),
    )


def file_limits(
    document: PolicyDocument,
) -> tuple[RateLimit | None, dict[str, RateLimit], dict[str, RateLimit]]:
    """Limit of everybody, limits and totals that files said when they were loaded last."""
    said = dict(document.limits_of_files)
    everybody = said.pop(ANYONE, None)
    totals = {name.removeprefix(_TOTAL): limit for name, limit in said.items() if name.startswith(_TOTAL)}
    return everybody, {name: limit for name, limit in said.items() if not name.startswith(_TOTAL)}, totals


def merged_with_files(
    current: Mapping[str, Value], before: Mapping[str, Value], said: Mapping[str, Value]
) -> dict[str, Value]:
    """What counts once files are loaded: what they say anew wins, what commands have changed since stays.

    Args:
        current: What counts now.
        before: What the files said when they were loaded last.
        said: What they say now.
    """
    merged = {
        name: value
        for name, value in current.items()
        if name in said or name not in before or before[name] != value
    }
    return merged | {name: value for name, value in said.items() if before.get(name) != value}
