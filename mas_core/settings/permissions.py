"""The grammar of rules in files: who may, or may not, send what to whom.

- allow: operator -> [calculator, notebook]
- allow: cleaner <-> summarizer
  types: ["text.*"]
- hold: clerk -> bank
- deny: {from: "*", to: vault, action: send}
  reason: the vault only answers requests
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from mas_core.base.ids import check_agent_id
from mas_core.base.resources import RESOURCE, RESOURCE_PATTERN
from mas_core.errors import InvalidIdentifier
from mas_core.model.policy import ANYONE, Effect, RateLimit, Route, Rule

_ROLE = re.compile(r"role:[a-z0-9][a-z0-9_-]{0,62}")
_TYPE_GLOB = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9_.*?-]{0,127}")
_DLP_ACTION = re.compile(r"block|redact|alert|off|encrypt:[a-z0-9][a-z0-9_-]{0,62}")
_ARROW = re.compile(r"(?P<left>[^<>]+?)\s*(?P<arrow><->|->)\s*(?P<right>[^<]+)")


def checked_agent_id(value: str) -> str:
    """`value` when it is the id of an agent, else a ValueError with the fix on its second line."""
    try:
        return check_agent_id(value)
    except InvalidIdentifier as error:
        raise ValueError("\n".join((error.message, *error.hint))) from error


def _party(value: str) -> str:
    if value == ANYONE or _ROLE.fullmatch(value):
        return value
    return checked_agent_id(value)


def checked_type_glob(value: str) -> str:
    """`value` when it is a pattern of message types or capabilities, else a ValueError with the fix."""
    if not _TYPE_GLOB.fullmatch(value):
        raise ValueError(
            f"{value!r} is no pattern for message types\nuse letters, digits, _ . - and the wildcards * and ?"
        )
    return value


def _dlp_action(value: str) -> str:
    if not _DLP_ACTION.fullmatch(value):
        raise ValueError(f"{value!r} is no action\nuse block, redact, alert, off or encrypt:NAME")
    return value


def _as_list(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.strip().removeprefix("[").removesuffix("]").split(",")]
    return value


def checked_target(value: str) -> str:
    """`value` when a message can be addressed to it, else a ValueError with the fix on its second line."""
    return value if RESOURCE.fullmatch(value) else checked_agent_id(value)


def _target(value: str) -> str:
    return value if RESOURCE_PATTERN.fullmatch(value) else _party(value)


Party = Annotated[str, AfterValidator(_party)]
Parties = Annotated[list[Party], BeforeValidator(_as_list), Field(min_length=1)]
Targets = Annotated[
    list[Annotated[str, AfterValidator(_target)]], BeforeValidator(_as_list), Field(min_length=1)
]
TypeGlobs = Annotated[list[Annotated[str, AfterValidator(checked_type_glob)]], BeforeValidator(_as_list)]
Action = Literal[
    "send",
    "request",
    "publish",
    "subscribe",
    "lead",
    "depose",
    "propose",
    "vote",
    "assign",
    "work",
    "observe",
    "*",
]


class Limit(BaseModel):
    """How many messages somebody may send in any sliding minute and hour."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    per_minute: int = Field(default=RateLimit().per_minute, ge=0)
    """In any sliding minute; 0 for none at all."""
    per_hour: int = Field(default=RateLimit().per_hour, ge=0)
    """In any sliding hour; 0 for none at all."""
    burst: int = Field(default=0, ge=0)
    """In any sliding second; 0 sets no bound of its own."""

    def as_rate_limit(self) -> RateLimit:
        """The same for the policy document."""
        return RateLimit(self.per_minute, self.per_hour, self.burst)


class Parts(BaseModel):
    """Sender and target of a rule, written out."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    sender: Parties = Field(alias="from")
    target: Targets = Field(alias="to")
    both_ways: bool = False
    types: TypeGlobs | None = None
    action: Action | None = None


def _parts(value: object) -> object:
    """`a -> [b, c]` as a mapping."""
    if not isinstance(value, str):
        return value
    match = _ARROW.fullmatch(value.strip())
    if not match:
        raise ValueError(f"{value!r} does not say who may send to whom\nwrite  sender -> target")
    return {"from": match["left"], "to": match["right"], "both_ways": match["arrow"] == "<->"}


class Permission(BaseModel):
    """One entry of `rules:` in policy.yaml or of `permissions:` in mas.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    allow: Annotated[Parts, BeforeValidator(_parts)] | None = None
    """Who may send to whom: `sender -> target`, `a <-> b`, or a mapping with from and to."""
    deny: Annotated[Parts, BeforeValidator(_parts)] | None = None
    """Who may not; wins over every allow and hold."""
    hold: Annotated[Parts, BeforeValidator(_parts)] | None = None
    """Whose messages wait for a person's approval; wins over every allow."""
    types: TypeGlobs = ["*"]
    """Patterns of message types: `math.*`."""
    action: Action = "*"
    """send or request, to agents; publish, subscribe, lead, propose, vote, assign or work, on resources."""
    expires: AwareDatetime | None = None
    """When it ends, as 2026-12-31T00:00:00Z."""
    reason: str = Field(default="", max_length=500)
    """Why; shown with each refusal and in the audit."""

    @model_validator(mode="after")
    def _one_effect(self) -> Permission:
        if sum(parts is not None for parts in (self.allow, self.deny, self.hold)) != 1:
            raise ValueError("a rule has either allow, hold or deny\nwrite  - allow: sender -> target")
        return self

    def _effect(self) -> tuple[Effect, Parts]:
        if self.deny is not None:
            return "deny", self.deny
        if self.hold is not None:
            return "hold", self.hold
        assert self.allow is not None  # noqa: S101 - the validator saw to it
        return "allow", self.allow

    def rules(self, source: str) -> Iterator[Rule]:
        """The rules that it stands for."""
        effect, parts = self._effect()
        pairs = [(sender, target) for sender in parts.sender for target in parts.target]
        if parts.both_ways:
            pairs += [(target, sender) for sender, target in pairs]
        expires = int(self.expires.timestamp() * 1000) if self.expires else 0
        for sender, target in pairs:
            for pattern in parts.types or self.types:
                yield file_rule(
                    effect,
                    sender,
                    target,
                    pattern=pattern,
                    action=parts.action or self.action,
                    source=source,
                    reason=self.reason,
                    expires=expires,
                )


DlpAction = Annotated[str, AfterValidator(_dlp_action)]
"""block, redact, alert, off, or encrypt:NAME of a key in the policy."""


class RouteEntry(BaseModel):
    """One entry of `routes:` in policy.yaml: what is different for these messages."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    route: Annotated[Parts, BeforeValidator(_parts)]
    """Whose messages: `sender -> target`, `a <-> b`, or a mapping with from and to."""
    types: TypeGlobs = ["*"]
    """Patterns of message types: `math.*`."""
    e2e: Literal["forbid", "allow", "require"] | None = None
    """Whether messages may, or must, be encrypted for the target alone."""
    dlp: dict[str, DlpAction] = {}
    """Rule id, category or `*` -> what is done about it on this route."""

    def routes(self, source: str) -> Iterator[Route]:
        """The routes that it stands for."""
        pairs = [(sender, target) for sender in self.route.sender for target in self.route.target]
        if self.route.both_ways:
            pairs += [(target, sender) for sender, target in pairs]
        for sender, target in pairs:
            for pattern in self.route.types or self.types:
                yield Route(sender, target, pattern, self.e2e or "", dict(self.dlp), source)


def file_rule(
    effect: Effect,
    sender: str,
    target: str,
    *,
    pattern: str = "*",
    action: str = "*",
    source: str,
    reason: str = "",
    expires: int = 0,
) -> Rule:
    """A rule from a file, whose id follows from what it says: reading the file again makes the same rule."""
    content = "\0".join((effect, sender, target, pattern, action, str(expires), source))
    digest = hashlib.sha256(content.encode()).hexdigest()[:12]
    return Rule(
        id=f"file-{digest}",
        effect=effect,
        sender=sender,
        target=target,
        type=pattern,
        action=action,
        expires=expires,
        source=source,
        reason=reason,
    )


def without_repeats(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """Each rule once, in the order of first mention."""
    return tuple({rule.id: rule for rule in rules}.values())
