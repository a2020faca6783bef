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
        {1: "none runs, nobody takes the messages of some partition, or something is wrong"},
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
        (
            "mas bench send",
            "mas bench send --count 1000 --rate 200 --size 1000 --concurrency 1",
            "mas bench send --for 10s --agents 4 --budget 'p99<5ms' --budget 'rate>1000'",
        ),
        {1: "messages were refused, lost or handled twice, or a budget was missed"},
        own_timeout=True,
    ),
    Command(
        "bench request",
        "Time requests from the question to its answer",
        "write",
        "bench:request",
        ("mas bench request", "mas bench request --for 10s --concurrency 1 --budget 'p95<5ms'"),
        {1: "questions went without their answer, or a budget was missed"},
        own_timeout=True,
    ),
    Command(
        "bench discover",
        "Time how soon running agents are found",
        "write",
        "bench:discover",
        ("mas bench discover", "mas bench discover --agents 100 --count 500 --budget 'p50<5ms'"),
        {1: "others were found than those that run, or a budget was missed"},
        own_timeout=True,
    ),
    Command(
        "bench dlp",
        "Time the scan, and count what it catches",
        "write",
        "bench:dlp",
        ("mas bench dlp", "mas bench dlp --count 5000 --size 2000 --budget 'missed<1'"),
        {1: "sensitive messages were missed, others were caught, or a budget was missed"},
        own_timeout=True,
    ),
    Command(
        "bench policy",
        "Time from a change of the policy to its first decisions",
        "write",
        "bench:policy",
        ("mas bench policy", "mas bench policy --for 30s --budget 'within_200ms_percent>=99'"),
        {1: "a decision came late or never turned, or a budget was missed"},
        own_timeout=True,
    ),
)
