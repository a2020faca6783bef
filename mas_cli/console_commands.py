"""The entries of the commands that take part in a system as it moves: look on, record, answer, replay."""

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
        "reply",
        "Answer in place of an agent, to try what talks to it",
        "write",
        "reply:reply",
        (
            "mas reply 'math.*' --as calculator --echo",
            """mas reply invoice.create --as ledger --data '{"booked":true}' --count 1""",
            "mas reply text.count --as word-counter --command 'wc -w' --for 10m",
        ),
        {
            5: "the gateway does not take the agent's token",
            6: "there is no such agent",
            7: "the agent runs, and would get a part of the messages",
        },
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
