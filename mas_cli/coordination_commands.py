"""The entries of the commands about what agents share and agree on: topics, leaders and tasks."""

from __future__ import annotations

from mas_cli.command_entry import Command

_NO_TASK = {6: "there is no such task"}
_REFUSED = {5: "the policy does not let this agent do it"}

COORDINATION_COMMANDS: tuple[Command, ...] = (
    Command(
        "topic list",
        "List topics, who listens, and how much is kept",
        "read",
        "topic:list_topics",
        ("mas topic list", "mas topic list 'orders.>' --output json"),
    ),
    Command(
        "topic publish",
        "Publish messages for all who listen",
        "write",
        "topic:publish",
        (
            "mas topic publish orders.created -F id=17",
            "mas topic publish orders.created @orders.jsonl --lines",
            "mas topic publish orders.created --as shop --dry-run",
        ),
        {4: "no gateway answered", **_REFUSED, 8: "some were not published"},
    ),
    Command(
        "topic subscribe",
        "Show what is published, as it comes",
        "read",
        "topic:subscribe",
        (
            "mas topic subscribe 'orders.>'",
            "mas topic subscribe orders.created --from beginning --count 10 --output json",
            "mas topic subscribe 'orders.*' --as auditor --durable --for 1m",
        ),
        {4: "no gateway answered", **_REFUSED},
    ),
    Command(
        "leader status",
        "Show who leads which group, in which term",
        "read",
        "leader:status",
        ("mas leader status", "mas leader status ledger --output json"),
        {6: "nobody ever led this group"},
    ),
    Command(
        "leader watch",
        "Follow the elections of groups",
        "read",
        "leader:watch",
        ("mas leader watch", "mas leader watch ledger --for 1m"),
    ),
    Command(
        "leader resign",
        "Make the leader of a group step down",
        "write",
        "leader:resign",
        ("mas leader resign ledger", "mas leader resign ledger --as operator"),
        {1: "nobody leads it", **_REFUSED},
    ),
    Command(
        "task assign",
        "Have something done by whoever can",
        "write",
        "task:assign",
        (
            "mas task assign report.make -F month=may",
            """mas task assign sum '{"numbers": [1, 2]}' --to adder --wait 1m""",
            "mas task assign scan --capability ocr --priority high --after 01M7ZYQ8W3N5J6V0T4B2K9XCDE",
        ),
        {
            1: "with --wait: it failed or was cancelled",
            4: "with --wait: it was not over in time",
            **_REFUSED,
            7: "another task has this id",
        },
    ),
    Command(
        "task list",
        "List tasks that are open, or ended within the last hour",
        "read",
        "task:list_tasks",
        ("mas task list", "mas task list --status failed --agent adder --output json"),
    ),
    Command(
        "task get",
        "Show a task with all its attempts",
        "read",
        "task:get",
        ("mas task get 01M7ZYQ8W3N5J6V0T4B2K9XCDE",),
        _NO_TASK,
    ),
    Command(
        "task watch",
        "Follow a task until it is over",
        "read",
        "task:watch",
        ("mas task watch 01M7ZYQ8W3N5J6V0T4B2K9XCDE --wait 5m",),
        {1: "it failed or was cancelled", 4: "it was not over in time", **_REFUSED, **_NO_TASK},
    ),
    Command(
        "task cancel",
        "Cancel tasks; whoever works on them is stopped",
        "write",
        "task:cancel",
        ("mas task cancel 01M7ZYQ8W3N5J6V0T4B2K9XCDE --reason 'not wanted any more'",),
        {1: "it is over already", **_REFUSED, **_NO_TASK, 8: "some could not be cancelled"},
    ),
    Command(
        "task retry",
        "Have tasks tried again that failed or were cancelled",
        "write",
        "task:retry",
        ("mas task retry 01M7ZYQ8W3N5J6V0T4B2K9XCDE",),
        {1: "it is open, or done", **_REFUSED, **_NO_TASK, 8: "some could not be tried again"},
    ),
    Command(
        "task stats",
        "Show how many tasks end well, and how long they take",
        "read",
        "task:stats",
        ("mas task stats", "mas task stats --queue reports --output json"),
    ),
)
