"""Every command in one table: help, completion, `mas spec` and the router read it.

Adding a command is one entry in `run_commands`, `system_commands`, `state_commands`, `console_commands`,
`policy_commands`, `queue_commands`, `evidence_commands`, `key_commands`, `certificate_commands`,
`backup_commands` or `local_commands`, one function in `mas_cli.commands`, and a row of `operator_permissions` where
it acts on a system. House rules for the texts: a summary has at most 60 characters and does not repeat the
command's name; examples use long flags.
"""

from __future__ import annotations

from mas_cli.backup_commands import BACKUP_COMMANDS
from mas_cli.certificate_commands import CERTIFICATE_COMMANDS
from mas_cli.command_entry import Command, Impact, Scope
from mas_cli.consensus_commands import CONSENSUS_COMMANDS
from mas_cli.console_commands import CONSOLE_COMMANDS
from mas_cli.coordination_commands import COORDINATION_COMMANDS
from mas_cli.event_commands import EVENT_COMMANDS
from mas_cli.evidence_commands import EVIDENCE_COMMANDS
from mas_cli.key_commands import KEY_COMMANDS
from mas_cli.local_commands import LOCAL_COMMANDS
from mas_cli.notary_commands import NOTARY_COMMANDS
from mas_cli.operator_commands import OPERATOR_COMMANDS
from mas_cli.policy_commands import POLICY_COMMANDS
from mas_cli.queue_commands import QUEUE_COMMANDS
from mas_cli.report_commands import REPORT_COMMANDS
from mas_cli.run_commands import RUN_COMMANDS
from mas_cli.server_commands import SERVER_COMMANDS
from mas_cli.state_commands import STATE_COMMANDS
from mas_cli.system_commands import SYSTEM_COMMANDS

__all__ = ["COMMANDS", "GROUPS", "RARER", "SECTIONS", "Command", "Impact", "Scope"]

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Run",
        (
            "init",
            "up",
            "down",
            "status",
            "health",
            "metrics",
            "check",
            "gateway",
            "server",
            "partitions",
            "agent",
        ),
    ),
    ("Talk", ("discover", "send", "request", "reply", "topic", "watch", "record", "tui", "bench", "demo")),
    ("Queues", ("bus", "event", "schedule", "dlq", "task", "leader", "consensus")),
    ("Rules", ("rbac", "policy", "route", "limit", "approval", "dlp", "breaker", "operator")),
    ("Evidence and state", ("trace", "audit", "key", "cert", "state", "backup")),
    (
        "Set-up",
        ("doctor", "redis-users", "config", "context", "completion", "spec", "man", "help", "version"),
    ),
)
"""How `mas --help` groups the first words."""

RARER: frozenset[str] = frozenset(
    {
        *(
            "metrics",
            "check",
            "server",
            "partitions",
            "record",
            "bench",
            "event",
            "schedule",
            "approval",
            "breaker",
        ),
        *("key", "cert", "limit", "config", "completion", "spec", "man", "help", "version", "leader"),
        *("health", "reply", "route", "demo", "context", "consensus", "operator", "redis-users"),
    }
)
"""First words that `mas --help` names without their summaries, so that it stays one screen."""

GROUPS: dict[str, str] = {
    "agent": "Agents: their specs, instances and credentials",
    "agent token": "Tokens of agents",
    "approval": "Messages that wait for a person",
    "audit": "What was decided, by whom and why, with proof",
    "audit key": "Keys that sign the audit",
    "audit notary": "Notaries: what signs the audit outside of the server",
    "audit sinks": "Files that get a copy of the audit",
    "audit retention": "How long audit records are kept, and where",
    "backup": "Backups: a system in one file, and back",
    "bench": "Measurements of a running system",
    "leader": "Leaders: who leads which group of agents",
    "limit": "Rate limits: what agents may send, and how much is used",
    "bus": "Queues: what waits for agents, and what they have in hand",
    "breaker": "Circuits: what keeps messages from targets that fail",
    "cert": "Certificates of agents, operators and servers",
    "completion": "Completion scripts for the shell",
    "consensus": "Votes of agents, and proof of what was decided",
    "config": "Settings and where each comes from",
    "context": "Named servers to work with",
    "dlq": "Dead letters: messages that were given up",
    "dlp": "Sensitive data: what is looked for, and what is found",
    "event": "What happened: events that agents emit, and the system's own",
    "gateway": "Gateways: what takes, judges and delivers messages",
    "operator": "Operators: who works on the system, and in which role",
    "operator role": "Roles of operators",
    "operator token": "Tokens of operators",
    "server": "Servers: what agents reach instead of the store",
    "partitions": "Partitions: how agents are spread over gateways",
    "key": "Public keys of agents, and their own keys to decrypt with",
    "policy": "Switches of the policy, and trials of another one",
    "policy shadow": "A policy that is tried beside the one in force",
    "rbac capability": "Who may claim which capabilities",
    "rbac role": "Roles: names for groups of agents",
    "rbac": "Rules: who may send what to whom",
    "redis-users": "Users of the server: who may do what there",
    "route": "Routing: which agents get what is sent to a capability",
    "schedule": "Messages that were sent for later",
    "state": "What agents remember",
    "task": "Tasks: things to be done by whoever can",
    "topic": "Topics: logs that some publish to and others read",
}
"""Words that only lead to commands, and what is found there."""

COMMANDS: tuple[Command, ...] = (
    *RUN_COMMANDS,
    *SERVER_COMMANDS,
    *SYSTEM_COMMANDS,
    *STATE_COMMANDS,
    *CONSOLE_COMMANDS,
    *POLICY_COMMANDS,
    *QUEUE_COMMANDS,
    *COORDINATION_COMMANDS,
    *CONSENSUS_COMMANDS,
    *EVENT_COMMANDS,
    *EVIDENCE_COMMANDS,
    *KEY_COMMANDS,
    *CERTIFICATE_COMMANDS,
    *OPERATOR_COMMANDS,
    *REPORT_COMMANDS,
    *NOTARY_COMMANDS,
    *BACKUP_COMMANDS,
    *LOCAL_COMMANDS,
)
