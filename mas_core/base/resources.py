"""Resources: what messages can be addressed to beside agents, and patterns over their names.

A resource is written `kind:name`, such as `topic:orders.created`; no agent can have such an id, as those hold no
colon. What a message to one means is told by its type; who may do so is told by rules that name the resource.
"""

from __future__ import annotations

import re
from typing import Final

from mas_core.base.ids import AGENT_ID, check_agent_id
from mas_core.base.name_patterns import matcher
from mas_core.errors import InvalidIdentifier

KINDS: Final = ("topic", "leader", "vote", "task")
MAX_NAME: Final = 100
"""Characters of a name."""

_PREFIXES = tuple(f"{kind}:" for kind in KINDS)
_WORD = r"[A-Za-z0-9_-]+"
_KIND = rf"(?:{'|'.join(KINDS)}):(?=.{{1,{MAX_NAME}}}\Z)"
RESOURCE: Final = re.compile(rf"{_KIND}{_WORD}(?:\.{_WORD})*")
"""A kind and a name: words of letters, digits, `_` and `-`, joined by dots."""
RESOURCE_PATTERN: Final = re.compile(rf"{_KIND}(?:(?:{_WORD}|\*)(?:\.(?:{_WORD}|\*))*(?:\.>)?|>)")
"""The same with wildcards: `*` for one word, and a last `>` for one word or more."""
TARGET: Final = re.compile(rf"{AGENT_ID.pattern}|{RESOURCE.pattern}")
"""What a message can be addressed to."""

_ACTIONS: Final = {
    "topic": {"subscribe": "subscribe", "unsubscribe": "subscribe", "list": "observe"},
    "leader": {"campaign": "lead", "renew": "lead", "resign": "lead", "depose": "depose"},
    "vote": {"open": "propose", "close": "propose", "cast": "vote"},
    "task": {
        **dict.fromkeys(("assign", "cancel", "retry"), "assign"),
        **dict.fromkeys(("take", "beat", "finish", "leave"), "work"),
    },
}
"""Kind and verb -> what a rule has to permit; verbs that only look are left out, and need `observe`."""
ACTIONS_ON: Final = {
    "topic": ("publish", "subscribe", "observe"),
    "leader": ("lead", "depose", "observe"),
    "vote": ("propose", "vote", "observe"),
    "task": ("assign", "work", "observe"),
}
"""Kind -> what rules can permit; whoever may do one of the others may observe too."""


def is_resource(target: str) -> bool:
    """Whether a target, or the target of a rule, is of a kind of resources; its name need not be well-formed."""
    return target.startswith(_PREFIXES)


def kind_of(target: str) -> str:
    """The kind of a resource or of a pattern."""
    return target.partition(":")[0]


def name_of(target: str) -> str:
    """The name of a resource, without its kind."""
    return target.partition(":")[2]


def action_on(target: str, message_type: str) -> str:
    """What a rule has to permit for a message of this type to a resource."""
    kind = kind_of(target)
    prefix, _, verb = message_type.partition(".")
    if prefix == kind:
        return _ACTIONS[kind].get(verb, "observe")
    return "publish" if kind == "topic" else "observe"


def action_of(target: str, message_type: str, *, expects_reply: bool) -> str:
    """What a rule has to permit for a message, be it to an agent or to a resource."""
    if is_resource(target):
        return action_on(target, message_type)
    return "request" if expects_reply else "send"


def matches_name(pattern: str, name: str) -> bool:
    """Whether a name is one of those that a pattern stands for: `*` for one word, a last `>` for one or more."""
    return matcher(pattern)(name)


def matches(pattern: str, resource: str) -> bool:
    """Whether a resource is one of those that a pattern of the same kind stands for."""
    return kind_of(pattern) == kind_of(resource) and matches_name(name_of(pattern), name_of(resource))


def check_target(target: str) -> str:
    """Return `target` when a message can be addressed to it.

    Raises:
        InvalidIdentifier: It is neither the id of an agent nor a resource.
    """
    if is_resource(target):
        return check_resource(kind_of(target), name_of(target))
    return check_agent_id(target)


def check_resource(kind: str, name: str) -> str:
    """`kind:name`, when it is a resource.

    Raises:
        InvalidIdentifier: It is not.
    """
    resource = f"{kind}:{name}"
    if not RESOURCE.fullmatch(resource):
        raise InvalidIdentifier(
            f"{name!r} cannot be the name of a {kind}",
            hint=f"names are words of letters, digits, '_' and '-', joined by dots, of at most {MAX_NAME} in all",
        )
    return resource


def check_pattern(kind: str, pattern: str) -> str:
    """Return `pattern` when it stands for names of a kind, with wildcards or without.

    Raises:
        InvalidIdentifier: It does not.
    """
    if not RESOURCE_PATTERN.fullmatch(f"{kind}:{pattern}"):
        raise InvalidIdentifier(
            f"{pattern!r} is no pattern for the name of a {kind}",
            hint="patterns look like orders.created, orders.* for one more word, orders.> for one or more",
        )
    return pattern
