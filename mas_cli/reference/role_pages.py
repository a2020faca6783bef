"""What each role may do, from the table of permissions: for the site and for `mas help operators`."""

from __future__ import annotations

from mas_cli.command_table import COMMANDS
from mas_cli.operator_permissions import permission_of
from mas_core.model.operators import GRANTS, PERMISSIONS, ROLES

_HEAD = """\
An operator is somebody who works on a system under a name of its own, in one role. Without operators whoever has
.mas/keys does everything; with the first one everybody is asked who they are, but the owner of those keys.

  mas operator add ann --role auditor           writes ann.operator: hand it to ann alone
  mas context add prod --url URL --operator ann.operator
  MAS_OPERATOR=ann.operator mas audit list      or fd:NUMBER, env:NAME, cmd:PROGRAM

"""


def help_text() -> str:
    """Roles and permissions, for the terminal."""
    width = max(map(len, PERMISSIONS))
    lines = [
        f"  {role:<{width}}  {', '.join(name for name in PERMISSIONS if name in GRANTS[role])}"
        for role in ROLES
    ]
    meanings = [f"  {name:<{width}}  {meaning}" for name, meaning in PERMISSIONS.items()]
    parts = (
        "Roles and what they permit:",
        "",
        *lines,
        "",
        "Permissions:",
        "",
        *meanings,
        "",
        "docs/operator-roles.md says for each command what it takes.",
    )
    return _HEAD + "\n".join(parts) + "\n"


def roles_page(note: str) -> str:
    """The page that says which role may run which command.

    Args:
        note: A comment that says where the page comes from.
    """
    lines = [
        note,
        *("", "# Roles and commands", ""),
        "What an operator may do is decided by the role; [Operators](operators.md) says how that is enforced.",
        "Whoever has the gateway's keys whole, and names no operator, is the owner and may run everything.",
        *("", "## Permissions", ""),
        *_row("Permission", "What it is about", *ROLES),
        *_row(*["---"] * (2 + len(ROLES))),
    ]
    for permission, meaning in PERMISSIONS.items():
        lines += _row(f"`{permission}`", meaning, *_marks(permission))
    lines += ["", "## Commands", "", *_row("Command", "Takes", *ROLES), *_row(*["---"] * (2 + len(ROLES)))]
    for command in COMMANDS:
        needed = permission_of(command)
        if needed is not None:
            lines += _row(f"`mas {command.name}`", f"`{needed}`", *_marks(needed))
    lines += [
        "",
        "Commands that are not in the table work on files of this machine alone, and ask nobody.",
    ]
    return "\n".join(lines) + "\n"


def _marks(permission: str) -> list[str]:
    return ["yes" if permission in GRANTS[role] else "no" for role in ROLES]


def _row(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |"]
