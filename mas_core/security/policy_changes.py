"""Changes to a policy document: each takes one and returns another.

The words in `change` say what was done. The revision, and who did it when, are added where the document is
stored. A change that changes nothing returns the document itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mas_core.base.ids import check_agent_id
from mas_core.base.resources import is_resource
from mas_core.errors import InvalidIdentifier, RoleNotFound, RuleNotFound, UsageError
from mas_core.model.policy import ANYONE, EFFECTS, PolicyDocument, RateLimit, Route, Rule
from mas_core.security.access import PARTY, TARGET_PARTY, actions_on, effects_on
from mas_core.security.type_glob import check_glob

FILE_SOURCE = "file:"
_ROLE = "role:"
_RULE_NUMBER = re.compile(r"r([0-9]{1,15})")


def find_rule(document: PolicyDocument, rule: Rule) -> Rule | None:
    """The rule of the document that says the same and came from the same place, whatever its id."""
    return next(iter(find_rules(document, (rule,))), None)


def find_rules(document: PolicyDocument, rules: Iterable[Rule]) -> list[Rule]:
    """For each rule that of the document which says the same and came from the same place, if there is one."""
    present = {_meaning(existing): existing for existing in reversed(document.rules)}
    return [found for rule in rules if (found := present.get(_meaning(rule))) is not None]


def add_rule(document: PolicyDocument, rule: Rule) -> PolicyDocument:
    """The document with `rule` under a new id; `find_rule` tells which.

    Args:
        document: The policy so far.
        rule: What to add; its `id` is not looked at. When the same is there already, nothing changes.

    Raises:
        UsageError: The rule makes no sense, or names a role that is not there.
    """
    return add_rules(document, (rule,))


def add_rules(document: PolicyDocument, rules: Iterable[Rule]) -> PolicyDocument:
    """The document with several rules more, as by `add_rule` for each.

    Raises:
        UsageError: One of them makes no sense, or names a role that is not there.
    """
    present = {_meaning(existing) for existing in document.rules}
    number = _last_number(document)
    added: list[Rule] = []
    for rule in rules:
        meaning = _meaning(rule)
        if meaning in present:
            continue
        _check_rule(document, rule)
        present.add(meaning)
        number += 1
        added.append(msgspec.structs.replace(rule, id=f"r{number}"))
    if not added:
        return document
    more = f" and {len(added) - 1} more" if len(added) > 1 else ""
    return msgspec.structs.replace(
        document,
        rules=(*document.rules, *added),
        last_rule=number,
        change=f"add {added[0].id}: {describe_rule(added[0])}{more}",
    )


def remove_rule(document: PolicyDocument, rule_id: str) -> PolicyDocument:
    """The document without the rule of this id.

    Raises:
        RuleNotFound: There is none.
    """
    for rule in document.rules:
        if rule.id == rule_id:
            return msgspec.structs.replace(
                document,
                rules=tuple(other for other in document.rules if other is not rule),
                last_rule=_last_number(document),
                change=f"remove {rule.id}: {describe_rule(rule)}",
            )
    raise RuleNotFound(f"the policy has no rule {rule_id!r}", hint="mas rbac list", rule=rule_id)


def edit_rules(document: PolicyDocument, add: Sequence[Rule], remove: Sequence[str]) -> PolicyDocument:
    """The document without some rules and with others, as one change.

    Raises:
        RuleNotFound: One that is to go is not there.
        UsageError: A rule makes no sense.
    """
    said = []
    before = document
    for rule_id in remove:
        document = remove_rule(document, rule_id)
        said.append(document.change)
    if add:
        added = add_rules(document, add)
        said += [added.change] if added is not document else []
        document = added
    return document if document is before else msgspec.structs.replace(document, change="; ".join(said))


def replace_file_rules(
    document: PolicyDocument, rules: Iterable[Rule], source: str = FILE_SOURCE
) -> PolicyDocument:
    """The document with `rules` in place of all whose source starts with `source`.

    Rules that were there already keep their ids, so loading a file twice changes nothing.

    Args:
        document: The policy so far.
        rules: What the files say; ids are not looked at.
        source: Where they come from, `file:` for all files.

    Raises:
        UsageError: A rule makes no sense, names a role that is not there, or has another source.
    """
    before = {_meaning(rule): rule for rule in document.rules if rule.source.startswith(source)}
    number = _last_number(document)
    after: dict[tuple[object, ...], Rule] = {}
    for rule in rules:
        meaning = _meaning(rule)
        if meaning in after:
            continue
        if not rule.source.startswith(source):
            raise UsageError(f"a rule from {rule.source!r} cannot replace rules from {source!r}")
        _check_rule(document, rule)
        existing = before.get(meaning)
        if existing is None:
            number += 1
            existing = msgspec.structs.replace(rule, id=f"r{number}")
        after[meaning] = existing
    added = [rule for meaning, rule in after.items() if meaning not in before]
    removed = [rule for meaning, rule in before.items() if meaning not in after]
    if not added and not removed:
        return document
    kept = [rule for rule in document.rules if not rule.source.startswith(source) or _meaning(rule) in after]
    return msgspec.structs.replace(
        document,
        rules=(*kept, *added),
        last_rule=number,
        change=f"load {'files' if source == FILE_SOURCE else source} ({len(added)} added, {len(removed)} removed)",
    )


def set_limit(document: PolicyDocument, name: str, limit: RateLimit | None) -> PolicyDocument:
    """The document with another rate limit.

    Args:
        document: The policy so far.
        name: An agent id, `role:NAME`, or `*` for everybody without a limit of their own.
        limit: None takes the limit back; for `*`, back to what a new policy has.

    Raises:
        UsageError: The name or a number makes no sense, or there is no such role.
    """
    if limit is not None and min(limit.per_minute, limit.per_hour, limit.burst) < 0:
        raise UsageError("a rate limit cannot be negative")
    check_party(document, name)
    if name == ANYONE:
        changed = msgspec.structs.replace(document, default_limit=limit or RateLimit())
    elif limit is not None:
        changed = msgspec.structs.replace(document, limits={**document.limits, name: limit})
    else:
        others = {other: kept for other, kept in document.limits.items() if other != name}
        changed = msgspec.structs.replace(document, limits=others)
    if changed == document:
        return document
    return msgspec.structs.replace(changed, change=f"limit of {name}: {describe_limit(limit)}")


def describe_limit(limit: RateLimit | None) -> str:
    """A limit in words, such as `100 a minute, 1000 an hour, 20 a second`."""
    if limit is None:
        return "none of its own"
    words = f"{limit.per_minute} a minute, {limit.per_hour} an hour"
    return f"{words}, {limit.burst} a second" if limit.burst else words


def set_roles(document: PolicyDocument, roles: Mapping[str, Sequence[str]]) -> PolicyDocument:
    """The document with these roles and no others.

    Raises:
        UsageError: A name cannot be one, or a rule or limit still names a role that would be gone.
    """
    for role, members in roles.items():
        _check_name(f"{_ROLE}{role}")
        for member in members:
            check_agent_id(member)
    named = {party for rule in document.rules for party in (rule.sender, rule.target)}
    named.update(document.limits, document.totals, document.ceilings)
    lost = sorted(
        party for party in named if party.startswith(_ROLE) and party.removeprefix(_ROLE) not in roles
    )
    if lost:
        raise UsageError(f"the policy still names {', '.join(lost)}", hint="mas rbac list")
    changed = msgspec.structs.replace(
        document, roles={role: tuple(dict.fromkeys(members)) for role, members in roles.items()}
    )
    if changed == document:
        return document
    touched = sorted(
        role
        for role in {*document.roles, *changed.roles}
        if document.roles.get(role) != changed.roles.get(role)
    )
    return msgspec.structs.replace(changed, change=f"roles: {', '.join(touched)}")


def replace_file_routes(document: PolicyDocument, routes: Iterable[Route]) -> PolicyDocument:
    """The document with `routes` in place of all that came from files.

    Raises:
        UsageError: A route names a role that is not there.
    """
    given = tuple(routes)
    for route in given:
        check_party(document, route.sender)
        check_party(document, route.target)
        check_glob(route.type)
    kept = tuple(route for route in document.routes if not route.source.startswith(FILE_SOURCE))
    if (*kept, *given) == document.routes:
        return document
    return msgspec.structs.replace(document, routes=(*kept, *given), change=f"load {len(given)} routes")


def describe_rule(rule: Rule) -> str:
    """One rule in words, such as `allow billing -> ledger invoice.* request`."""
    action = "" if rule.action == ANYONE else f" {rule.action}"
    return f"{rule.effect} {rule.sender} -> {rule.target} {rule.type}{action}"


def _meaning(rule: Rule) -> tuple[object, ...]:
    return (rule.effect, rule.sender, rule.target, rule.type, rule.action, rule.expires, rule.source)


def _last_number(document: PolicyDocument) -> int:
    """The highest number that a rule has or ever had: the audit names rules by id, so none comes back."""
    found = (_RULE_NUMBER.fullmatch(rule.id) for rule in document.rules)
    return max(document.last_rule, *(int(match[1]) for match in found if match), 0)


def _check_rule(document: PolicyDocument, rule: Rule) -> None:
    if rule.effect not in EFFECTS:
        raise UsageError(f"{rule.effect!r} is no effect of a rule", hint="use allow, hold or deny")
    if rule.effect not in effects_on(rule.target):
        raise UsageError(f"what goes to {rule.target} cannot be held", hint="use allow or deny")
    actions = actions_on(rule.target)
    if rule.action not in (*actions, ANYONE):
        raise UsageError(
            f"{rule.action!r} is no action on {rule.target}", hint=f"use {', '.join(actions)} or *"
        )
    if rule.expires < 0:
        raise UsageError("a rule cannot expire before 1970")
    check_party(document, rule.sender)
    if not is_resource(rule.target):
        check_party(document, rule.target)
    elif not TARGET_PARTY.fullmatch(rule.target):
        raise InvalidIdentifier(
            f"{rule.target!r} is no resource",
            hint="topic:NAME, leader:GROUP, vote:ID or task:QUEUE; * stands for a word, a last > for the rest",
        )
    check_glob(rule.type)


def check_party(document: PolicyDocument, party: str) -> None:
    """Make sure that a rule or limit can name this.

    Raises:
        InvalidIdentifier: It is neither an agent id nor `role:NAME` nor `*`.
        RoleNotFound: There is no such role.
    """
    _check_name(party)
    role = party.removeprefix(_ROLE)
    if party.startswith(_ROLE) and role not in document.roles:
        raise RoleNotFound(f"there is no role {role!r}", hint="mas rbac role list", role=role)


def _check_name(party: str) -> None:
    if not PARTY.fullmatch(party):
        raise InvalidIdentifier(
            f"{party!r} is neither an agent id nor role:NAME nor *",
            hint="names have 1 to 63 characters of a-z 0-9 _ - and start with a letter or a digit",
        )
