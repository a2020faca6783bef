"""What users of the server may do: an agent with a user of its own, the gateway, an auditor, an operator.

Rules are those of ACL SETUSER (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/).
A script runs with the rights of its caller, so what a script of ours calls stands here too. Selectors, in
brackets, keep apart what may be done to which keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from mas_core.store.keys import Keys

Role = Literal["gateway", "front", "auditor", "operator"]

_HELLO: Final = ("auth", "hello", "ping", "client|setname", "time")
"""What everybody needs to come in and to know the time."""
_GROUPS: Final = ("asking", "cluster|slots", "role", "wait")
"""What servers in groups are asked besides: where a slot is, who is the master, whether replicas have it."""

_OWN_RECORDS: Final = (
    "hget", "hmget", "hset", "hdel", "hincrby", "zscore", "zadd", "zremrangebyscore", "pexpire",
)  # fmt: skip
_INBOX: Final = (
    "xgroup|create", "xreadgroup", "xinfo|consumers", "xpending", "xclaim", "xack", "xdel",
)  # fmt: skip
_REPLIES: Final = ("xread", "xtrim", "del", "xrange", "pexpire")
_TOPICS: Final = (
    "xread", "xreadgroup", "xack", "xgroup|create", "xgroup|destroy", "xgroup|delconsumer", "xinfo|groups",
    "xinfo|consumers", "xpending", "xclaim",
)  # fmt: skip

GATEWAY_COMMANDS: Final = (
    *_HELLO, *_GROUPS,
    "acl|log", "config|get", "del", "evalsha", "hdel", "hget", "hgetall", "hincrby",
    "hlen", "hmget", "hset", "hstrlen", "info", "lindex", "llen", "lrange", "lset", "ltrim", "pexpire",
    "rpush", "script|exists", "script|load", "smembers", "type", "xack", "xadd", "xdel",
    "xgroup|setid", "xinfo|groups", "xlen", "xpending", "xrange", "xread", "xrevrange", "xsetid",
    "xtrim", "zadd", "zrange", "zrangebyscore", "zrem", "zscore",
)  # fmt: skip
"""All that a gateway calls, by itself and in scripts."""

_AUDITOR_READS: Final = ("hget", "hmget", "hgetall", "xrange", "xrevrange", "xread", "xlen")

_OPERATOR_MORE: Final = (
    "acl", "client", "cluster|slots", "config|get", "config|rewrite", "info", "restore", "role", "scan",
    "script|load", "script|exists", "slowlog|get", "memory|usage",
)  # fmt: skip
"""What an operator needs of what servers call dangerous: users, the look at the server, and backups."""

AGENT_COMMANDS: Final = tuple(
    sorted(
        {
            *_HELLO,
            *_GROUPS,
            "xadd",
            "evalsha",
            "hgetall",
            "hkeys",
            *_OWN_RECORDS,
            *_INBOX,
            *_REPLIES,
            *_TOPICS,
        }
    )
)
"""All that an agent calls, by itself and in scripts; on which keys, its rules say."""

FRONT_COMMANDS: Final = ("info", "script|exists", "script|load", "smembers", "xlen", "xrange", "xrevrange")
"""What a server of agents calls beside what its agents would."""

AGENT_SCRIPTS: Final = (
    "settle", "claim", "start", "unstart", "set_state", "hold", "keep_replies", "look_at_group", "take_over_log",
    "leave_log",
)  # fmt: skip
"""Scripts that agents call; a gateway loads them, as an agent with a user of its own may not."""


def agent_rules(keys: Keys, agent_id: str, topics: Sequence[str] = ()) -> tuple[str, ...]:
    """What the own user of an agent may do: add to the ingress unread, and handle what is its own.

    Args:
        keys: Names of the system.
        agent_id: Whose user.
        topics: Patterns of the topics whose logs it may read: words joined by dots, `*` for a word, a last `>` for
            more.
    """
    # The tag of a partition is left open: an agent moves when the number of partitions is changed. No part of a
    # name can hold a brace, so nothing else matches.
    prefix = f"{keys.namespace}:{{*}}:"
    records = [f"%RW~{prefix}{kind}:{agent_id}" for kind in ("work", "state", "handled")]
    inbox, replies = f"%RW~{prefix}inbox:{agent_id}:*", f"%RW~{prefix}replies:{agent_id}:*"
    logs = [f"%RW~{prefix}topic:{pattern.replace('>', '*')}" for pattern in sorted(set(topics))]
    scripts = [*records, inbox, replies, f"%RW~{prefix}agent:{agent_id}", *logs]
    return (
        *_closed(),
        f"%W~{prefix}ingress:*",
        *_allowed("xadd", *_HELLO, *_GROUPS),
        _selector(records, _OWN_RECORDS),
        _selector([inbox], _INBOX),
        _selector([replies], _REPLIES),
        _selector([f"%R~{prefix}agent:{agent_id}"], ("hget", "hgetall")),
        _selector([f"%R~{keys.layout_record()}"], ("hgetall",)),
        _selector([f"%R~{prefix}meta"], ("hget",)),
        _selector([f"%R~{prefix}topics"], ("hkeys",)),
        # The keys that a script is given are checked as if it wrote to all of them; what it calls is checked again.
        _selector(scripts, ("evalsha",)),
        *([_selector(logs, _TOPICS)] if logs else []),
    )


def role_rules(keys: Keys, role: Role) -> tuple[str, ...]:
    """What the user of a role of the system itself may do, on the keys of this system alone."""
    everything = f"~{keys.namespace}:*"
    prefix = f"{keys.namespace}:{{*}}:"
    if role == "gateway":
        return (*_closed(), everything, *_allowed(*GATEWAY_COMMANDS))
    if role == "front":
        # A server of agents does for each what the agent would, and tells of itself and what it noticed.
        return (*_closed(), everything, *_allowed(*AGENT_COMMANDS, *FRONT_COMMANDS))
    if role == "operator":
        return (
            *_closed(),
            everything,
            *("+@all", "-@dangerous", "-select"),
            *_allowed(*_HELLO, *_GROUPS, *_OPERATOR_MORE),
        )
    return (
        *_closed(),
        *_allowed(*_HELLO, *_GROUPS, "info"),
        _selector(
            [
                *(f"%R~{prefix}audit", f"%R~{prefix}meta", f"%R~{keys.layout_record()}"),
                # The policy says who is an auditor.
                *(f"%R~{keys.notaries()}", f"%R~{keys.policy()}"),
            ],
            _AUDITOR_READS,
        ),
        # Questions to the audit are recorded, those of an auditor as well.
        _selector([f"%W~{prefix}operator"], ("xadd",)),
    )


def _closed() -> tuple[str, ...]:
    return ("resetkeys", "resetchannels", "clearselectors", "-@all")


def _allowed(*commands: str) -> tuple[str, ...]:
    return tuple(f"+{command}" for command in sorted(set(commands)))


def _selector(patterns: Sequence[str], commands: Sequence[str]) -> str:
    return f"({' '.join((*patterns, *_allowed(*commands)))})"
