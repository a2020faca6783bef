"""Operators: who works on a system, in which role, and the files that prove it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from mas_core.errors import Conflict, UsageError
from mas_core.model.operators import OperatorRecord, Role
from mas_core.model.policy import PolicyDocument
from mas_core.ops.system import System
from mas_core.registry.operator_log import named
from mas_core.security.operator_changes import (
    operator_of,
    with_operator,
    with_proof,
    with_role,
    without_operator,
)
from mas_core.security.operator_credentials import Credential, new_credential, signer_of
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
    nobody = OperatorRecord("viewer", 0)
    with_operator(await system.policy.load() or PolicyDocument(), name, nobody)


@named("operator.add", "name")
async def add(
    system: System, name: str, role: Role, path: Path, *, expires_in: float = 0, by_certificate: bool = False
) -> Issued:
    """Make somebody an operator; the file at `path` is what proves it.

    With the first operator the system asks everybody who they are, but the owner of the gateway's keys.

    Args:
        system: The system; its keys are needed whole.
        name: Of the operator: 1 to 63 characters of a-z 0-9 _ -.
        role: What the operator may do.
        path: The file to write, private; it must not be there.
        expires_in: Seconds until the file no longer counts; 0 for never.
        by_certificate: Whether the operator is known by certificates, from the authorities that the project
            trusts, instead of a token.

    Raises:
        ProjectNotFound, ConfigurationError, UsageError: It is not known which authorities count.
        Conflict: There is an operator of this name, or such a file.
        RoleForbidden: Only the owner makes operators.
    """
    system.access.require("own", "to make somebody an operator")
    await rehearse(system, name, path)
    made, proof = await _made(system, name, role, expires_in, by_certificate=by_certificate)
    now = await system.store.connection.time_ms()
    record = proof(OperatorRecord(role, now, system.actor))
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
    key = operator_of(await system.policy.load(), name).key
    if expires_in is None:
        expires_in = (key.expires - key.created) / 1000 if key is not None and key.expires else 0
    made, proof = await _made(system, name, role, expires_in, by_certificate=key is None)
    draft = path.with_name(f".{path.name}.new")
    write_private(draft, msgspec.json.encode(made) + b"\n")
    try:
        document = await system.policy.change(
            lambda document: with_proof(with_role(document, name, role), name, proof)
        )
        _put(draft, path)
    finally:
        _forget(draft)
    return Issued(name, document.operators[name], path)


Proof = Callable[[OperatorRecord], OperatorRecord]


async def _made(
    system: System, name: str, role: Role, expires_in: float, *, by_certificate: bool
) -> tuple[Credential, Proof]:
    """A new credential, and what it changes of the operator's record."""
    if by_certificate:
        from mas_core.ops.project_certificates import ProjectCertificates  # noqa: PLC0415 - slow, and few use them
        from mas_core.security.operator_proofs import authorities_of  # noqa: PLC0415

        if expires_in:
            raise UsageError("certificates say themselves when they end", hint="leave out --expires")
        certificates = ProjectCertificates.of(system)
        trusted, domain = authorities_of(certificates.trusted()), certificates.trust_domain
        if not trusted:
            raise UsageError("no authority is trusted here", hint=("mas cert ca", "tls_ca_path in mas.yaml"))
        made = new_credential(name, role, system.keys, has_token=False)
        return made, partial(msgspec.structs.replace, key=None, authorities=trusted, trust_domain=domain)
    made = new_credential(name, role, system.keys)
    now = await system.store.connection.time_ms()
    key = signer_of(made).public_half(created=now, expires=now + int(expires_in * 1000) if expires_in else 0)
    return made, partial(msgspec.structs.replace, key=key, authorities=(), trust_domain="")


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise Conflict(f"there is a file {path} already", hint="--out FILE", path=str(path))


def _put(draft: Path, path: Path) -> None:
    draft.replace(path)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
