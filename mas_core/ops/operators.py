"""Operators: who works on a system, in which role, and the files that prove it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mas_core.errors import Conflict
from mas_core.model.operators import OperatorKey, OperatorRecord, Role
from mas_core.model.policy import PolicyDocument
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.security.operator_changes import (
    operator_of,
    with_key,
    with_operator,
    with_role,
    without_operator,
)
from mas_core.security.operator_credentials import Credential, new_credential, operator_key
from mas_core.settings.private_files import write_private


@dataclass(frozen=True)
class Issued:
    """An operator, and the file that was written for it."""

    name: str
    record: OperatorRecord
    path: Path | None = None
    """None where no file was written: what the operator has goes on to count."""


async def operators(system: System) -> dict[str, OperatorRecord]:
    """Name -> operator, by name."""
    document = await system.policy.load()
    return dict(sorted(document.operators.items())) if document is not None else {}


async def get(system: System, name: str) -> OperatorRecord:
    """One operator.

    Raises:
        OperatorNotFound: There is none of this name.
    """
    return operator_of(await system.policy.load(), name)


async def rehearse(system: System, name: str, path: Path) -> None:
    """Find out whether somebody could be made an operator, and change nothing.

    Raises:
        Conflict: There is an operator of this name, or such a file.
        InvalidIdentifier: Nobody can have this name.
    """
    _check_free(path)
    nobody = OperatorRecord("viewer", OperatorKey("", "", 0), 0)
    with_operator(await system.policy.load() or PolicyDocument(), name, nobody)


@named("operator.add", "name")
async def add(system: System, name: str, role: Role, path: Path, *, expires_in: float = 0) -> Issued:
    """Make somebody an operator; the file at `path` is what proves it.

    With the first operator the system asks everybody who they are, but the owner of the gateway's keys.

    Args:
        system: The system; its keys are needed whole.
        name: Of the operator: 1 to 63 characters of a-z 0-9 _ -.
        role: What the operator may do.
        path: The file to write, private; it must not be there.
        expires_in: Seconds until the file no longer counts; 0 for never.

    Raises:
        Conflict: There is an operator of this name, or such a file.
        RoleForbidden: Only the owner makes operators.
    """
    system.access.require("own", "to make somebody an operator")
    await rehearse(system, name, path)
    made, key = await _made(system, name, role, expires_in)
    record = OperatorRecord(role, key, key.created, system.actor)
    # Before the policy: what proves an identity that nobody has yet does no harm.
    write_private(path, msgspec.json.encode(made) + b"\n")
    try:
        await system.policy.change(lambda document: with_operator(document, name, record))
    except BaseException:
        _forget(path)
        raise
    return Issued(name, record, path)


@named("operator.remove", "name")
async def remove(system: System, name: str) -> OperatorRecord:
    """End an operator: the file that was given out counts no more when this returns.

    Raises:
        OperatorNotFound: There is none of this name.
        RoleForbidden: Only the owner does this.
    """
    system.access.require("own", "to remove an operator")
    before = operator_of(await system.policy.load(), name)
    await system.policy.change(lambda document: without_operator(document, name))
    return before


@named("operator.role", "name")
async def set_role(system: System, name: str, role: Role, path: Path | None = None) -> Issued:
    """Give an operator another role.

    Args:
        system: The system; its keys are needed whole.
        name: The operator.
        role: What the operator may do from now on.
        path: Where a new file is written, with the keys of the new role; where left out, the operator keeps the
            keys of the role before, and lacks those that only the new one is given.

    Raises:
        OperatorNotFound: There is none of this name.
        RoleForbidden: Only the owner does this.
        Conflict: There is such a file already.
    """
    system.access.require("own", "to change the role of an operator")
    operator_of(await system.policy.load(), name)
    if path is None:
        document = await system.policy.change(lambda document: with_role(document, name, role))
        return Issued(name, document.operators[name])
    return await _replaced(system, name, role, path, None)


@named("operator.token.rotate", "name")
async def rotate(system: System, name: str, path: Path, *, expires_in: float | None = None) -> Issued:
    """Make a new file for an operator; the one before counts no more when this returns.

    Args:
        system: The system; its keys are needed whole.
        name: The operator.
        path: The file to write; one that is there is replaced.
        expires_in: Seconds until the new file no longer counts, 0 for never; as before if left out.

    Raises:
        OperatorNotFound: There is none of this name.
        RoleForbidden: Only the owner does this.
    """
    system.access.require("own", "to make a token for an operator")
    record = operator_of(await system.policy.load(), name)
    return await _replaced(system, name, record.role, path, expires_in)


async def _replaced(system: System, name: str, role: Role, path: Path, expires_in: float | None) -> Issued:
    before = operator_of(await system.policy.load(), name).key
    if expires_in is None:
        expires_in = (before.expires - before.created) / 1000 if before.expires else 0
    made, key = await _made(system, name, role, expires_in)
    draft = path.with_name(f".{path.name}.new")
    write_private(draft, msgspec.json.encode(made) + b"\n")
    try:
        document = await system.policy.change(
            lambda document: with_key(with_role(document, name, role), name, key)
        )
        _put(draft, path)
    finally:
        _forget(draft)
    return Issued(name, document.operators[name], path)


async def _made(system: System, name: str, role: Role, expires_in: float) -> tuple[Credential, OperatorKey]:
    made = new_credential(name, role, system.keys)
    now = await system.store.connection.time_ms()
    expires = now + int(expires_in * 1000) if expires_in else 0
    return made, operator_key(made, created=now, expires=expires)


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise Conflict(f"there is a file {path} already", hint="--out FILE", path=str(path))


def _put(draft: Path, path: Path) -> None:
    draft.replace(path)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
