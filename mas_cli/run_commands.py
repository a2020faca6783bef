"""The entries of the commands that run something."""

from __future__ import annotations

from mas_cli.command_entry import Command

_DRAIN = {8: "some agents did not end in time"}

RUN_COMMANDS: tuple[Command, ...] = (
    Command(
        "up",
        "Run the project: server, gateway, agents",
        "write",
        "up:up",
        ("mas up", "mas up --detach", "mas up --dir shop --url redis://db.example:6379 --reload"),
        {
            1: "--detach: some agents do not run",
            4: "--detach: not everything was ready in time",
            7: "the project runs already",
            **_DRAIN,
        },
        own_timeout=True,
    ),
    Command(
        "down",
        "Stop what `mas up` runs",
        "write",
        "up:down",
        ("mas down", "mas down --dir shop"),
        {4: "it did not end in time"},
        own_timeout=True,
    ),
    Command(
        "status",
        "Show what runs and what needs attention",
        "read",
        "status:status",
        ("mas status", "mas status --output json"),
    ),
    Command(
        "gateway run",
        "Run one in the foreground",
        "write",
        "gateway:run",
        ("mas gateway run", "mas gateway run --id second --output jsonl"),
        {4: "not every partition had an owner in time", 7: "one of this name is running"},
        own_timeout=True,
    ),
    Command(
        "gateway status",
        "Show those that run",
        "read",
        "gateway:status",
        ("mas gateway status",),
        {1: "none runs, or nobody takes the messages of some partition"},
    ),
    Command(
        "agent run",
        "Run some in the foreground, in a running system",
        "write",
        "agent_runs:run",
        ("mas agent run calculator", "mas agent run --all --reload"),
        {6: "the project has no such agent", **_DRAIN},
        own_timeout=True,
    ),
    Command(
        "bench send",
        "Time messages from `send` to the handler and back",
        "write",
        "bench:send",
        ("mas bench send", "mas bench send --messages 1000 --rate 200 --size 1000 --concurrency 1"),
        {1: "messages were refused, lost or handled twice"},
        own_timeout=True,
    ),
)
