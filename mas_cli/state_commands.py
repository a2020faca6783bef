"""The entries of the commands about what agents remember."""

from __future__ import annotations

from mas_cli.command_entry import Command

_NO_AGENT = {6: "there is no such agent"}

STATE_COMMANDS: tuple[Command, ...] = (
    Command(
        "state list",
        "List the agents that remember something",
        "read",
        "state:list_states",
        ("mas state list",),
    ),
    Command(
        "state get",
        "Show the state of an agent or a part of it",
        "read",
        "state:get",
        ("mas state get notebook", "mas state get notebook notes.0.text --raw"),
        {6: "there is no such agent, or nothing at this path"},
    ),
    Command(
        "state set",
        "Set a part of an agent's state",
        "write",
        "state:set_part",
        (
            "mas state set notebook settings.limit 20",
            "mas state set notebook settings @settings.json --if-revision 7",
        ),
        {**_NO_AGENT, 7: "the state was changed by somebody else"},
    ),
    Command(
        "state patch",
        "Change several parts of an agent's state at once",
        "write",
        "state:patch",
        (
            """mas state patch notebook '{"settings":{"limit":20},"draft":null}'""",
            "mas state patch notebook --json-field limit:=20 --dry-run",
        ),
        {**_NO_AGENT, 7: "the state was changed by somebody else"},
    ),
    Command(
        "state diff",
        "Tell what a file says otherwise than the state",
        "read",
        "state:diff",
        (
            "mas state diff notebook --file notebook.json",
            "mas state diff notebook --file settings.yaml --path settings",
        ),
        {1: "something differs", 6: "there is no such agent, or nothing at --path"},
    ),
    Command(
        "state reset",
        "Empty the state of agents, after a backup",
        "destroy",
        "state:reset",
        (
            "mas state reset notebook",
            "mas state reset notebook --keep settings --dry-run",
            "mas state reset notebook counter --confirm my-agents",
        ),
        {
            6: "there is no such agent, or nothing at --path or --keep",
            8: "some states were changed meanwhile and not reset",
        },
    ),
)
