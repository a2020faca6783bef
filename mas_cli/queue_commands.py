"""The entries of the commands about messages that wait or were given up."""

from __future__ import annotations

from mas_cli.command_entry import Command

_NOT_SCHEDULED = {
    6: "nothing of this name is scheduled",
    7: "it is due already, or several have this id",
}
_NO_LETTER = {6: "there is no such dead letter"}
_ORDERED = {
    **_NO_LETTER,
    7: "somebody else was first, or it is dropped, or not",
    8: "some went another way, or no gateway has carried it out yet",
}

_NO_AGENT = {6: "there is no such agent"}

QUEUE_COMMANDS: tuple[Command, ...] = (
    Command(
        "bus status",
        "Show what waits for agents, and how fast it moves",
        "read",
        "bus:status",
        (
            "mas bus status",
            "mas bus status --lanes --agent billing --output json",
            "mas bus status --watch=2s --for 1m",
        ),
        _NO_AGENT,
    ),
    Command(
        "bus inspect",
        "Show the messages of a queue, and who has them",
        "read",
        "bus:inspect",
        ("mas bus inspect billing", "mas bus inspect billing --pending --idle 1m --payload"),
        _NO_AGENT,
    ),
    Command(
        "bus claim",
        "Let other instances take over what one has held for long",
        "write",
        "bus:claim",
        ("mas bus claim billing --idle 5m --dry-run", "mas bus claim billing --idle 5m --reason 'it hangs'"),
        {**_NO_AGENT, 7: "no other instance runs that could take over"},
    ),
    Command(
        "bus trim",
        "Move what waits to the dead letters, the oldest first",
        "destroy",
        "bus:trim",
        (
            "mas bus trim billing --keep 1000 --dry-run",
            "mas bus trim billing --older 2h --reason 'of no use any more' --yes",
        ),
        {**_NO_AGENT, 8: "some stay, or no gateway has carried it out yet"},
    ),
    Command(
        "bus replay",
        "Send again what was delivered, as new messages",
        "write",
        "bus_replay:replay",
        (
            "mas bus replay --agent billing --since 1h --dry-run",
            "mas bus replay --agent billing --since 1h --to billing-test --rate 10",
        ),
        {6: "there is no such agent, or no copy of what it got", 8: "some were not sent"},
    ),
    Command(
        "schedule list",
        "List messages that wait for their time, the next first",
        "read",
        "schedule:list_scheduled",
        ("mas schedule list", "mas schedule list --from billing --output json"),
    ),
    Command(
        "schedule get",
        "Show one with its time and size",
        "read",
        "schedule:get",
        (
            "mas schedule get 01KAJ0M3W4ZC8Q2R5T7V9X1Y3Z",
            "mas schedule get bob/alice/order-17 --payload",
        ),
        _NOT_SCHEDULED,
    ),
    Command(
        "schedule cancel",
        "Stop messages before they are due",
        "destroy",
        "schedule:cancel",
        (
            "mas schedule cancel 01KAJ0M3W4ZC8Q2R5T7V9X1Y3Z --yes",
            "mas schedule cancel --all --from billing --dry-run",
        ),
        {**_NOT_SCHEDULED, 8: "some are not cancelled, or no gateway has taken it up yet"},
    ),
    Command(
        "dlq list",
        "List messages that were given up, the newest first",
        "read",
        "dlq:list_letters",
        ("mas dlq list", "mas dlq list --agent billing --reason expired --since 1h --output json"),
    ),
    Command(
        "dlq get",
        "Show one with every attempt",
        "read",
        "dlq:get",
        ("mas dlq get 0:1763739296123", "mas dlq get 0:1763739296123 --payload"),
        _NO_LETTER,
    ),
    Command(
        "dlq stats",
        "Count them by reason, type and agent",
        "read",
        "dlq:stats",
        ("mas dlq stats", "mas dlq stats --since yesterday"),
    ),
    Command(
        "dlq retry",
        "Deliver them again, each once",
        "write",
        "dlq:retry",
        (
            "mas dlq retry 0:1763739296123 --reason 'ledger is back'",
            "mas dlq retry --all --type 'task.*' --rate 50 --dry-run",
            """mas dlq retry 0:1763739296123 --data '{"amount": 12}' --reason 'amount was a text'""",
            "mas dlq retry 0:1763739296123 --approve --reason 'checked with the clerk'",
        ),
        {5: "a check does not let it pass; it stays", **_ORDERED, 9: "not confirmed"},
        asks=True,
    ),
    Command(
        "dlq drop",
        "Drop them; for 24 hours they can be restored",
        "destroy",
        "dlq:drop",
        (
            "mas dlq drop 0:1763739296123 --yes",
            "mas dlq drop --all --older 7d --dry-run",
        ),
        _ORDERED,
    ),
    Command(
        "dlq restore",
        "Bring dropped ones back",
        "write",
        "dlq:restore",
        ("mas dlq restore 0:1763739296123", "mas dlq restore --all"),
        _ORDERED,
    ),
)
