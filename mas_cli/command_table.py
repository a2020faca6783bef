"""Every command in one table: help, completion, `mas spec` and the router read it.

Adding a command is one entry here and one function in `mas_cli.commands`. House rules for the texts: a
summary has at most 60 characters and does not repeat the command's name; examples use long flags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Impact = Literal["read", "write", "destroy"]
Scope = Literal["system", "local"]


class Command(NamedTuple):
    """One command."""

    name: str
    """The words that are typed, such as `context add`."""
    summary: str
    impact: Impact
    handler: str
    """`module:function` in `mas_cli.commands`."""
    examples: tuple[str, ...]
    exit_codes: Mapping[int, str] = {}
    """Codes beyond those that every command has, and when this one ends so."""
    scope: Scope = "system"
    """Whether it acts on a running system or on files of this machine."""
    output: str = "table"
    """The format when none is asked for."""
    own_timeout: bool = False
    """The command gives --timeout a meaning of its own."""


SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Run", ("init", "up", "down", "status", "gateway", "agent")),
    ("Talk", ("discover", "send", "request", "watch", "bench")),
    ("Rules", ("rbac",)),
    ("Evidence and state", ("audit", "state")),
    ("Set-up", ("config", "context", "completion", "spec", "help", "version")),
)
"""How `mas --help` groups the first words."""

GROUPS: dict[str, str] = {
    "agent": "Agents: their specs, instances and credentials",
    "completion": "Completion scripts for the shell",
    "config": "Settings and where each comes from",
    "context": "Named servers to work with",
}
"""Words that only lead to commands, and what is found there."""

COMMANDS: tuple[Command, ...] = (
    Command(
        "agent validate",
        "Check agent specs, with line and fix for every problem",
        "read",
        "agent_specs:validate",
        ("mas agent validate", "mas agent validate agents.d/calculator.yaml"),
        {1: "a spec has problems"},
        scope="local",
    ),
    Command(
        "agent new",
        "Write the spec of a new agent",
        "write",
        "agent_specs:new",
        (
            "mas agent new greeter --class agents.greeter:Greeter --capability greet",
            "mas agent new counter --exec 'wc -w' --print",
        ),
        {7: "the project has an agent of this name"},
        scope="local",
    ),
    Command(
        "config show",
        "Show every setting of the project",
        "read",
        "config:show",
        ("mas config show", "mas config show --output yaml"),
        scope="local",
    ),
    Command(
        "config where",
        "Show where every setting comes from",
        "read",
        "config:where",
        ("mas config where", "mas config where profile"),
        {6: "there is no such setting"},
        scope="local",
    ),
    Command(
        "config validate",
        "Check mas.yaml, the policy and all agent specs",
        "read",
        "config:validate",
        ("mas config validate",),
        {1: "something has problems"},
        scope="local",
    ),
    Command(
        "context list",
        "List the contexts of this user",
        "read",
        "context:list_contexts",
        ("mas context list",),
        scope="local",
    ),
    Command(
        "context add",
        "Name a server or a project, to work with it by name",
        "write",
        "context:add",
        (
            "mas context add prod --url rediss://db.example:6380 --protected",
            "mas context add home --project ~/my-agents",
        ),
        {7: "there is a context of this name"},
        scope="local",
    ),
    Command(
        "context show",
        "Show one context",
        "read",
        "context:show",
        ("mas context show", "mas context show prod"),
        {6: "there is no such context, or none is selected"},
        scope="local",
    ),
    Command(
        "context select",
        "Use a context from now on",
        "write",
        "context:select",
        ("mas context select prod",),
        {6: "there is no such context"},
        scope="local",
    ),
    Command(
        "context previous",
        "Go back to the context selected before",
        "write",
        "context:previous",
        ("mas context previous",),
        {6: "none was selected before"},
        scope="local",
    ),
    Command(
        "context rename",
        "Give a context another name",
        "write",
        "context:rename",
        ("mas context rename prod production",),
        {6: "there is no such context", 7: "the new name is taken"},
        scope="local",
    ),
    Command(
        "context remove",
        "Forget contexts; the systems they name are not touched",
        "destroy",
        "context:remove",
        ("mas context remove old", "mas context remove old older --confirm old"),
        {6: "there is no such context"},
        scope="local",
    ),
    Command(
        "completion bash",
        "Script for bash",
        "read",
        "completion:bash",
        ("source <(mas completion bash)",),
        scope="local",
    ),
    Command(
        "completion zsh",
        "Script for zsh",
        "read",
        "completion:zsh",
        ("mas completion zsh > ~/.zfunc/_mas",),
        scope="local",
    ),
    Command(
        "completion fish",
        "Script for fish",
        "read",
        "completion:fish",
        ("mas completion fish | source",),
        scope="local",
    ),
    Command(
        "completion install",
        "Put the script where the shell looks for it",
        "write",
        "completion:install",
        ("mas completion install", "mas completion install zsh"),
        scope="local",
    ),
    Command(
        "spec",
        "Describe every command as JSON",
        "read",
        "spec:spec",
        ("mas spec", "mas spec --command 'context add'"),
        {6: "there is no such command"},
        scope="local",
        output="json",
    ),
    Command(
        "help",
        "Explain a topic, an error code or a command",
        "read",
        "help:help_on",
        ("mas help exit-codes", "mas help errors forbidden", "mas help context add"),
        {6: "there is no help on this"},
        scope="local",
    ),
    Command(
        "version",
        "Show the versions of all parts",
        "read",
        "version:version",
        ("mas version", "mas version --output json"),
        scope="local",
    ),
)
