"""How long audit records are kept: what frameworks ask for, and which of them are in force."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from mas_core.errors import UsageError
from mas_core.model.policy import PolicyDocument
from mas_core.model.retention import FRAMEWORKS, RetentionRule, describe_retention, in_force, usual_rule
from mas_core.ops.rbac import load
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.security.retention_changes import set_retention

__all__ = ["FRAMEWORKS", "RetentionStatus", "change_retention", "describe_retention", "list_retention"]

TOGETHER = "in force"
"""Name of the line that says what all frameworks in force ask for together."""


@dataclass(frozen=True, slots=True)
class RetentionStatus:
    """What one framework asks for, or all in force together."""

    framework: str
    rule: RetentionRule
    in_force: bool
    source: str
    """Where its times come from."""


async def list_retention(system: System) -> list[RetentionStatus]:
    """Every framework that is known or in force, and last what those in force ask for together."""
    document = await load(system)
    names = sorted({*FRAMEWORKS, *document.retention})
    found = [_status(document, name) for name in names]
    together = in_force(document.retention)
    if together is not None:
        found.append(
            RetentionStatus(TOGETHER, together, in_force=True, source="the longest of those in force")
        )
    return found


@named("retention.set", "framework")
async def change_retention(
    system: System,
    framework: str,
    *,
    hot_days: int | None = None,
    archive_years: int | None = None,
    delete: bool | None = None,
    remove: bool = False,
    dry_run: bool = False,
) -> tuple[PolicyDocument, PolicyDocument]:
    """Adopt, change or take back what a framework asks for; in force when this returns.

    Args:
        system: The system.
        framework: One of `FRAMEWORKS`, or a name of one's own.
        hot_days: Days for which records stay in the store; as before, or as is usual, when left out.
        archive_years: Years for which archived segments are kept.
        delete: Whether older segments are deleted.
        remove: Take it back.
        dry_run: Change nothing and tell what would be changed.

    Returns:
        The policy before and after.

    Raises:
        NotFound: It is to be taken back, and is not in force.
        UsageError: The name or a number makes no sense.
    """
    if remove and not (hot_days is None and archive_years is None and delete is None):
        raise UsageError("retention is either changed or taken back")

    def edit(document: PolicyDocument) -> PolicyDocument:
        if remove:
            return set_retention(document, framework, None)
        rule = document.retention.get(framework, usual_rule(framework))
        said = {"hot_days": hot_days, "archive_years": archive_years, "delete": delete}
        changed = {name: value for name, value in said.items() if value is not None}
        return set_retention(document, framework, msgspec.structs.replace(rule, **changed))

    before = await load(system)
    return before, edit(before) if dry_run else await system.policy.change(edit)


def _status(document: PolicyDocument, name: str) -> RetentionStatus:
    known = FRAMEWORKS.get(name)
    source = known.source if known is not None else "your own"
    rule = document.retention.get(name)
    return RetentionStatus(name, rule or usual_rule(name), rule is not None, source)
