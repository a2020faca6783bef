"""The entries of the commands about the notary and its keys."""

from __future__ import annotations

from mas_cli.command_entry import Command

NOTARY_COMMANDS: tuple[Command, ...] = (
    Command(
        "audit notary run",
        "Sign the audit outside of the server, in the foreground",
        "write",
        "audit_notary:run",
        ("mas audit notary run", "mas audit notary run --folder /mnt/evidence --output jsonl"),
        {7: "another notary has the folder"},
    ),
    Command(
        "audit notary status",
        "Show what is signed, and what stops it",
        "read",
        "audit_notary:status",
        ("mas audit notary status", "mas audit notary status --output json"),
        {1: "none runs, or something is wrong"},
    ),
    Command(
        "audit key show",
        "Show the public keys to pin",
        "read",
        "audit_notary:show_key",
        ("mas audit key show", "mas audit key show --columns vkey --no-headers"),
        {6: "nothing was signed yet"},
    ),
    Command(
        "audit key rotate",
        "Sign with a new one from now on",
        "write",
        "audit_notary:rotate_key",
        ("mas audit key rotate", "mas audit key rotate --lost --yes"),
        {6: "nothing was signed yet"},
        asks=True,
    ),
    Command(
        "audit resume",
        "Sign on after a restore that is accepted",
        "write",
        "audit_notary:resume",
        (
            "mas audit resume --accept-restore --reason 'restored after disk loss'",
            "mas audit resume --dry-run",
        ),
        {1: "the old evidence does not reach to what the store has", 7: "there is nothing to accept"},
    ),
)
