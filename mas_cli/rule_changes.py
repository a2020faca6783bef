"""Adding rules by command: what is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.rule_rows import RULE_COLUMNS, rule_row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mas_core.model.policy import Rule
    from mas_core.ops.system import System

CHANGE_COLUMNS = (Column("id"), Column("change"), *RULE_COLUMNS[1:])


async def added_rules(
    call: Invocation, system: System, add: Callable[[System], Awaitable[list[Rule]]], *, dry_run: bool
) -> None:
    """Add rules, and tell which are new and how to take them back."""
    from mas_core.ops import rbac

    known = {rule.id for rule in (await rbac.load(system)).rules}
    rules = await add(system)
    added = [rule for rule in rules if rule.id not in known]
    change = "would add" if dry_run else "added"
    call.out.records(
        CHANGE_COLUMNS,
        [{**rule_row(rule), "change": change if rule in added else "was there"} for rule in rules],
    )
    if added and not dry_run:
        call.talk.say(f"undo with: mas rbac revoke {' '.join(rule.id for rule in added)}")
