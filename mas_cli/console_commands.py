"""The entries of the commands that show a system as it moves, and what was recorded of one."""

from __future__ import annotations

from mas_cli.command_entry import Command

CONSOLE_COMMANDS: tuple[Command, ...] = (
    Command(
        "tui",
        "Open the live dashboard",
        "read",
        "tui:tui",
        (
            "mas tui",
            "mas tui --screen live",
            "mas tui --read-only",
            "mas tui keys",
            "mas tui --replay incident.jsonl",
        ),
    ),
    Command(
        "watch",
        "Show what the gateway decides, as it happens",
        "read",
        "watch:watch",
        (
            "mas watch",
            "mas watch --refused --type 'invoice.*'",
            "mas watch --count 10 --output jsonl",
            "mas watch --replay incident.jsonl --speed x10",
        ),
    ),
    Command(
        "record",
        "Write what the gateway decides to a file, for a replay",
        "read",
        "record:record",
        (
            "mas record --out incident.jsonl",
            "mas record --out incident.jsonl --for 10m --size 100MB",
        ),
        {7: "there is such a file already"},
    ),
)
