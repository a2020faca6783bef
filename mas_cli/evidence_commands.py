"""The entries of the commands that keep evidence: retention, archive, erasure."""

from __future__ import annotations

from mas_cli.command_entry import Command

EVIDENCE_COMMANDS: tuple[Command, ...] = (
    Command(
        "audit retention list",
        "List how long records are kept, and for which framework",
        "read",
        "audit_retention:list_retention",
        ("mas audit retention list",),
    ),
    Command(
        "audit retention set",
        "Say how long records are kept for a framework",
        "write",
        "audit_retention:set_retention",
        (
            "mas audit retention set hipaa",
            "mas audit retention set pci --hot-days 90 --archive-years 1 --delete --dry-run",
        ),
        {6: "it is to be taken back and is not in force"},
    ),
)
