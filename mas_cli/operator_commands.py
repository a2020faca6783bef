"""The entries of the commands about operators."""

from __future__ import annotations

from mas_cli.command_entry import Command

_NO_OPERATOR = {6: "there is no such operator"}

OPERATOR_COMMANDS: tuple[Command, ...] = (
    Command(
        "operator add",
        "Make somebody an operator, with a role",
        "write",
        "operator:add",
        (
            "mas operator add ann --role auditor",
            "mas operator add bob --role operator --expires 90d --out /safe/bob.operator",
            "mas operator add eve --role security --certificate",
        ),
        {7: "there is an operator of this name, or such a file"},
    ),
    Command(
        "operator list",
        "List who works on the system, and in which role",
        "read",
        "operator:list_operators",
        ("mas operator list", "mas operator list --output json"),
    ),
    Command(
        "operator remove",
        "End an operator; the file of it counts no more",
        "destroy",
        "operator:remove",
        ("mas operator remove ann",),
        _NO_OPERATOR,
    ),
    Command(
        "operator role set",
        "Give an operator another role",
        "write",
        "operator:set_role",
        (
            "mas operator role set ann viewer",
            "mas operator role set ann operator --out /safe/ann.operator",
        ),
        {**_NO_OPERATOR, 7: "there is such a file already"},
    ),
    Command(
        "operator token rotate",
        "Make a new file for an operator, and end the old one",
        "write",
        "operator:rotate",
        (
            "mas operator token rotate ann",
            "mas operator token rotate ann --expires 30d --out /safe/ann.operator",
        ),
        _NO_OPERATOR,
    ),
)
