"""Versions of a policy document: what differs between two, and the way back to an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from mas_core.model.policy import PolicyDocument, Rule
from mas_core.security.policy_changes import describe_rule

NOT_POLICY = frozenset({"revision", "last_rule", "changed_by", "changed_at", "change"})
"""Fields that tell of a version and decide nothing."""

ORIGINS = frozenset(
    {"feature_overrides", "roles_of_files", "limits_of_files", "ceilings_of_files", "retention_of_files"}
)
"""Fields that tell where others came from."""

STAYING = frozenset(
    {
        *("last_rule", "standings", "blocked", "revoked_certificates", "shadow", "operators"),
        *("retention", "retention_of_files"),
    }
)
"""Fields that a rollback leaves: what an operator said about single agents is taken back by name only, how long
evidence is kept does not hang on the rules of last week, and nobody who was removed comes back."""


class Change(msgspec.Struct, frozen=True):
    """One thing that differs."""

    change: Literal["added", "removed", "changed"]
    what: str
    """The field, and for a rule its id: `rules`, `roles`, `limits`, ..."""
    name: str
    """Id of the rule, name of the role, agent of the limit, ..."""
    before: str = ""
    after: str = ""


def differences(before: PolicyDocument, after: PolicyDocument) -> list[Change]:
    """What one has to do to come from `before` to `after`; rules are told apart by what they say."""
    found = list(_rule_differences(before.rules, after.rules))
    for field in PolicyDocument.__struct_fields__:
        if field in NOT_POLICY or field in ORIGINS or field == "rules":
            continue
        one, other = getattr(before, field), getattr(after, field)
        if one == other:
            continue
        if isinstance(one, Mapping | msgspec.Struct) or isinstance(other, msgspec.Struct):
            found += _entries(field, _mapping(one), _mapping(other))
        else:
            found.append(Change("changed", field, "", _text(one), _text(other)))
    return found


def rolled_back(document: PolicyDocument, earlier: PolicyDocument) -> PolicyDocument:
    """The document with what `earlier` said; standings, blocks and the shadow policy stay as they are."""
    kept = {name: getattr(document, name) for name in (*STAYING, *NOT_POLICY)}
    after = msgspec.structs.replace(earlier, **kept)
    if after == document:
        return document
    return msgspec.structs.replace(after, change=f"roll back to revision {earlier.revision}")


def same_meaning(rule: Rule) -> tuple[object, ...]:
    """What a rule says, wherever it came from."""
    return (rule.effect, rule.sender, rule.target, rule.type, rule.action, rule.expires)


def _rule_differences(before: tuple[Rule, ...], after: tuple[Rule, ...]) -> Iterator[Change]:
    old = {same_meaning(rule): rule for rule in before}
    new = {same_meaning(rule): rule for rule in after}
    for meaning, rule in old.items():
        if meaning not in new:
            yield Change("removed", "rules", rule.id, before=describe_rule(rule))
    for meaning, rule in new.items():
        if meaning not in old:
            yield Change("added", "rules", rule.id, after=describe_rule(rule))


def _entries(field: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for name in {**before, **after}:
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        if name not in before:
            yield Change("added", field, name, after=_text(other))
        elif name not in after:
            yield Change("removed", field, name, before=_text(one))
        else:
            yield Change("changed", field, name, _text(one), _text(other))


def _mapping(value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    return value if isinstance(value, Mapping) else msgspec.structs.asdict(value)  # type: ignore[arg-type]


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
