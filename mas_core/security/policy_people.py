"""Changes to whom a policy names: members of roles, trusted and blocked agents, and its switches.

As in `policy_changes`: each takes a document and returns another, or itself when nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from mas_core.base.ids import check_agent_id
from mas_core.errors import Conflict, RoleExists, RoleNotFound, UsageError
from mas_core.model.policy import Features, Mark, PolicyDocument
from mas_core.security.policy_changes import check_party, set_roles
from mas_core.security.type_glob import check_glob

MarkKind = Literal["blocked", "trusted"]

FEATURES: tuple[str, ...] = Features.__struct_fields__
"""Names of the switches."""


def create_role(document: PolicyDocument, role: str, members: Sequence[str] = ()) -> PolicyDocument:
    """The document with one more role.

    Raises:
        RoleExists: There is one of this name.
        InvalidIdentifier: The name, or one of a member, cannot be one.
    """
    if role in document.roles:
        raise RoleExists(
            f"there is a role {role} already", hint=f"mas rbac role assign {role} AGENT", role=role
        )
    return set_roles(document, {**document.roles, role: tuple(members)})


def assign_role(document: PolicyDocument, role: str, members: Sequence[str]) -> PolicyDocument:
    """The document with more members of a role; those who are members already stay.

    Raises:
        RoleNotFound: There is no such role.
    """
    return set_roles(document, {**document.roles, role: (*_members(document, role), *members)})


def unassign_role(document: PolicyDocument, role: str, members: Sequence[str]) -> PolicyDocument:
    """The document with fewer members of a role.

    Raises:
        RoleNotFound: There is no such role.
        Conflict: Somebody is not a member.
    """
    before = _members(document, role)
    strangers = [member for member in members if member not in before]
    if strangers:
        raise Conflict(
            f"{', '.join(strangers)} has not the role {role}", hint="mas rbac role list", role=role
        )
    return set_roles(
        document, {**document.roles, role: tuple(member for member in before if member not in members)}
    )


def set_mark(document: PolicyDocument, kind: MarkKind, agent_id: str, mark: Mark | None) -> PolicyDocument:
    """The document in which an agent is blocked or trusted, or no longer.

    Args:
        document: The policy so far.
        kind: blocked or trusted.
        agent_id: Who.
        mark: Why and until when; None takes it back.

    Raises:
        Conflict: It is to be taken back, and is not there.
        InvalidIdentifier: This cannot be an agent.
    """
    check_agent_id(agent_id)
    before: dict[str, Mark] = getattr(document, kind)
    if mark is None:
        if agent_id not in before:
            raise Conflict(f"{agent_id} is not {kind}", hint=f"mas agent describe {agent_id}", agent=agent_id)
        after = {name: kept for name, kept in before.items() if name != agent_id}
        words = f"{agent_id} is no longer {kind}"
    else:
        known = before.get(agent_id)
        if known is not None and (known.reason, known.expires) == (mark.reason, mark.expires):
            return document
        after = {**before, agent_id: mark}
        words = f"{agent_id} is {kind}" + (f": {mark.reason}" if mark.reason else "")
    if kind == "blocked":
        return msgspec.structs.replace(document, blocked=after, change=words)
    return msgspec.structs.replace(document, trusted=after, change=words)


def set_feature(
    document: PolicyDocument, name: str, value: bool | None, *, of_files: bool | None = None
) -> PolicyDocument:
    """The document with a switch set by hand; files do not set it back.

    Args:
        document: The policy so far.
        name: One of `FEATURES`.
        value: None leaves it to the files again.
        of_files: What the files say; None where they are not at hand, and it stays until they are loaded.

    Raises:
        UsageError: There is no such switch.
    """
    if name not in FEATURES:
        raise UsageError(f"there is no switch {name!r}", hint=f"use one of {', '.join(FEATURES)}")
    if value is None:
        overrides = {other: kept for other, kept in document.feature_overrides.items() if other != name}
        features = document.features
        if of_files is not None:
            features = msgspec.structs.replace(features, **{name: of_files})
        changed = msgspec.structs.replace(document, feature_overrides=overrides, features=features)
        words = f"{name}: as the files say"
    else:
        changed = msgspec.structs.replace(
            document,
            feature_overrides={**document.feature_overrides, name: value},
            features=msgspec.structs.replace(document.features, **{name: value}),
        )
        words = f"{name}: {'on' if value else 'off'}"
    return document if changed == document else msgspec.structs.replace(changed, change=words)


def bind_capability(document: PolicyDocument, glob: str, parties: Sequence[str] | None) -> PolicyDocument:
    """The document in which only these may claim the capabilities that a pattern names.

    Args:
        document: The policy so far.
        glob: Over capabilities.
        parties: Agents, `role:NAME` or `*`; None frees them for everybody.

    Raises:
        UsageError: A name or the pattern makes no sense, or there is no such role.
        Conflict: It is to be freed and is not bound.
    """
    check_glob(glob)
    if parties is None:
        if glob not in document.capabilities:
            raise Conflict(f"the capability {glob} is not bound", hint="mas rbac capability list")
        after = {name: kept for name, kept in document.capabilities.items() if name != glob}
        return msgspec.structs.replace(document, capabilities=after, change=f"capability {glob}: free")
    for party in parties:
        check_party(document, party)
    after = {**document.capabilities, glob: tuple(dict.fromkeys(parties))}
    if after == document.capabilities:
        return document
    return msgspec.structs.replace(
        document, capabilities=after, change=f"capability {glob}: only {', '.join(after[glob]) or 'nobody'}"
    )


def _members(document: PolicyDocument, role: str) -> tuple[str, ...]:
    try:
        return document.roles[role]
    except KeyError:
        raise RoleNotFound(f"there is no role {role!r}", hint="mas rbac role list", role=role) from None
