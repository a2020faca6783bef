"""`mas rbac apply|export|diff|history|rollback`: the policy as a file, and its revisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.input.rule_flags import DryRun, PolicyPath, required_file
from mas_cli.invocation import Invocation
from mas_cli.output.documents import yaml_text
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.policy_rows import CHANGE_COLUMNS, REVISION_COLUMNS, change_rows, revision_row
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.model.policy import PolicyDocument
    from mas_core.ops.policy_files import Change

ExitFlag = Annotated[bool, typer.Option("--exit-code", help="End with 1 when something differs.")]


async def apply(
    call: Invocation,
    *,
    file: PolicyPath = "",
    prune: Annotated[
        bool, typer.Option("--prune", help="Also take away what the file does not say.")
    ] = False,
    dry_run: DryRun = False,
    exit_code: ExitFlag = False,
) -> ExitCode:
    """Put what a file says in force: rules, roles, limits, scanning, marks; in force when it returns.

    Rules, roles and limits of the project's own files stay also with --prune: mas up would bring them back.
    """
    path = required_file(file)
    async with open_system(call) as system:
        from mas_core.ops import policy_files

        if prune and not dry_run:
            _after, coming = await policy_files.apply(system, path, prune=True, dry_run=True)
            going = [f"{item.what} {item.name}: {item.before}" for item in coming if item.change == "removed"]
            if going:
                call.ask.many(going, system.target.name)
        after, changes = await policy_files.apply(system, path, prune=prune, dry_run=dry_run)
    call.out.records(CHANGE_COLUMNS, change_rows(changes))
    _say_what_became(call, after, changes, dry_run=dry_run)
    return ExitCode.NO if exit_code and changes else ExitCode.OK


async def export(call: Invocation) -> ExitCode:
    """Print the policy in force as a file that mas rbac apply takes; standings and the shadow stay out."""
    async with open_system(call) as system:
        from mas_core.ops import policy_files, rbac

        document = policy_files.policy_as_file(await rbac.load(system))
    if call.out.format in {Format.TABLE, Format.NAME, Format.CSV}:
        call.out.write(yaml_text(document))
    else:
        call.out.document(document)
    return ExitCode.OK


async def diff(
    call: Invocation,
    revisions: Annotated[
        list[int] | None,
        typer.Argument(metavar="REV", help="One revision to compare with the policy in force, or two."),
    ] = None,
    *,
    file: PolicyPath = "",
    exit_code: ExitFlag = False,
) -> ExitCode:
    """Tell what a file, or a revision, says otherwise than the policy in force."""
    numbers = revisions or []
    if bool(file) is bool(numbers) or len(numbers) > 2:
        raise UsageError(
            "a file or one or two revisions are compared", hint="mas rbac diff --file policy.yaml"
        )
    async with open_system(call) as system:
        from mas_core.ops import policy_files

        if file:
            changes = await policy_files.compare(system, Path(file))
        else:
            changes = await policy_files.compare_revisions(system, *numbers)
    call.out.records(CHANGE_COLUMNS, change_rows(changes))
    call.talk.count(f"{len(changes)} differences")
    return ExitCode.NO if exit_code and changes else ExitCode.OK


async def history(
    call: Invocation,
    *,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="So many at most.")] = 100,
) -> ExitCode:
    """List the revisions of the policy, the one in force first: when, by whom and what."""
    async with open_system(call) as system:
        from mas_core.ops import policy_files

        found = await policy_files.history(system, limit + 1)
    call.out.records(REVISION_COLUMNS, [revision_row(document) for document in found[:limit]])
    if len(found) > limit:
        call.talk.warn(f"there are more than {limit}; see them with --limit")
    return ExitCode.OK


async def rollback(
    call: Invocation,
    revision: Annotated[int, typer.Argument(metavar="REV", help="A revision of mas rbac history.")],
    *,
    dry_run: DryRun = False,
    exit_code: ExitFlag = False,
) -> ExitCode:
    """Make the policy what it was at a revision, as a new revision; in force when it returns.

    Blocks, standings and the shadow policy stay: what was said about one agent is taken back by name.
    """
    async with open_system(call) as system:
        from mas_core.ops import policy_files

        after, changes = await policy_files.rollback(system, revision, dry_run=dry_run)
    call.out.records(CHANGE_COLUMNS, change_rows(changes))
    _say_what_became(call, after, changes, dry_run=dry_run)
    return ExitCode.NO if exit_code and changes else ExitCode.OK


def _say_what_became(
    call: Invocation, after: PolicyDocument, changes: Sequence[Change], *, dry_run: bool
) -> None:
    if not changes:
        call.talk.say("nothing would change" if dry_run else "nothing changed")
    elif dry_run:
        call.talk.say("nothing was changed yet")
    else:
        call.talk.say(f"revision {after.revision}; undo with: mas rbac rollback {after.revision - 1}")
