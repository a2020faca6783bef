"""The entries of the commands about servers of agents."""

from __future__ import annotations

from mas_cli.command_entry import Command

SERVER_COMMANDS: tuple[Command, ...] = (
    Command(
        "server run",
        "Run one in the foreground",
        "write",
        "server:run",
        (
            "mas server run",
            "mas server run --listen 0.0.0.0:7443 --log-format text",
            "mas server run --check",
        ),
        {
            2: "the address or the certificate cannot be used, or gRPC is not installed",
            4: "it did not listen in time",
            7: "one of this name is running",
        },
        own_timeout=True,
    ),
    Command(
        "server status",
        "Show those that run, and how many agents are connected",
        "read",
        "server:status",
        ("mas server status", "mas server status --output json"),
        {1: "agents need one and none runs, or something is wrong"},
    ),
    Command(
        "server token",
        "Make a bearer token for an agent behind a proxy",
        "write",
        "server_tokens:token",
        (
            "mas server token billing --expires 1h",
            "mas server token billing --out billing.bearer",
        ),
    ),
)
