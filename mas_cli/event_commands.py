"""The entries of the commands about events."""

from __future__ import annotations

from mas_cli.command_entry import Command

_UNAVAILABLE = {3: "the database of events does not answer"}

EVENT_COMMANDS: tuple[Command, ...] = (
    Command(
        "event list",
        "List those that were kept, the newest first",
        "read",
        "event:list_events",
        (
            "mas event list",
            "mas event list --type 'order.>' --since 1h --output json",
            "mas event list --filter 'data.amount > 100' --limit 10",
        ),
        _UNAVAILABLE,
        scope="local",
    ),
    Command(
        "event tail",
        "Show them as they come",
        "read",
        "event:tail",
        (
            "mas event tail",
            "mas event tail --type 'mas.agent.*' --output jsonl",
            "mas event tail --since 10m --source shop --count 5",
        ),
        _UNAVAILABLE,
        scope="local",
    ),
    Command(
        "event emit",
        "Tell of one, through the gateway",
        "write",
        "event:emit",
        (
            """mas event emit order.created '{"amount":120}' --topic orders.eu""",
            "mas event emit order.created -F region=eu --as shop --dry-run",
        ),
        {5: "the gateway refuses it", 6: "nobody keeps events here"},
    ),
    Command(
        "event replay",
        "Play them again, to the screen or to an agent",
        "write",
        "event:replay",
        (
            "mas event replay --type 'order.*' --since 1h --speed x10",
            "mas event replay --type 'order.*' --since 1h --to billing --dry-run",
            "mas event replay --type 'order.*' --since 1h --to billing --as shop",
        ),
        {5: "the gateway refuses all of them", 8: "some were refused"},
    ),
    Command(
        "event record",
        "Run the recorder, which keeps them",
        "write",
        "event:record",
        ("mas event record", "mas event record --output jsonl"),
        {
            3: "no gateway runs, or the database of events does not answer",
            7: "another recorder of the project runs",
        },
    ),
)
