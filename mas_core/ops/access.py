"""Who works on a system, and what the role of that operator permits.

What is checked here binds those who use these operations. What binds whoever does not are the keys that a role is
given (`mas_core.security.operator_credentials`), the user of the server, and the signature that gateways check.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mas_core.errors import (
    IntegrityError,
    MasError,
    OperatorUnknown,
    RoleForbidden,
    Unreachable,
)
from mas_core.model.operators import (
    FIELDS_OF_OPERATORS,
    GRANTS,
    OWNED_FIELDS,
    ROLES,
    WRITES,
    Permission,
    Role,
)
from mas_core.model.policy import PolicyDocument
from mas_core.registry.policy_record import PolicyRecord
from mas_core.registry.signed import Macs
from mas_core.security.operator_credentials import Credential, Signer, signer_of
from mas_core.security.policy_versions import NOT_POLICY
from mas_core.store.records import Records

HOW = ("mas context add NAME --operator FILE", "MAS_OPERATOR=FILE mas status", "mas help operators")


@dataclass(frozen=True)
class Access:
    """What somebody may do; whoever has no role may do everything, unless there is a problem."""

    operator: str = ""
    """Name of the operator; empty for whoever has the gateway's keys, or where there are no operators."""
    role: Role | None = None
    permissions: frozenset[Permission] = frozenset()
    signer: Signer | None = None
    """Signs what is done, once the identity is proven."""
    problem: MasError | None = None
    """Why nothing is permitted at all."""

    def may(self, permission: Permission) -> bool:
        """Whether this is permitted."""
        return self.problem is None and (self.role is None or permission in self.permissions)

    def require(self, permission: Permission, what: str = "") -> None:
        """Make sure that this is permitted.

        Args:
            permission: What it takes.
            what: What is to be done, in words, such as `mas rbac allow`.

        Raises:
            OperatorUnknown, TokenExpired, TokenRevoked: Nobody knows who this is.
            RoleForbidden: It is not permitted.
        """
        if self.problem is not None:
            raise self.problem
        if not self.may(permission):
            raise RoleForbidden(
                f"{self.operator} may not do this: {what or 'it'} takes the permission {permission}, "
                f"which the role {self.role} does not give; {_who_may(permission)}",
                hint="mas help operators",
                operator=self.operator,
                role=self.role,
                permission=permission,
            )

    def check_write(self, write: str) -> None:
        """Make sure that something of this kind may be written, as the operator log names it.

        Raises:
            OperatorUnknown, TokenExpired, TokenRevoked, RoleForbidden: It may not.
        """
        if self.problem is not None:
            raise self.problem
        if write != "policy":
            self.require(WRITES.get(write, "own"), f"to write {write}")

    def check_change(self, before: PolicyDocument, after: PolicyDocument) -> None:
        """Make sure that the policy may be changed so.

        Raises:
            OperatorUnknown, TokenExpired, TokenRevoked, RoleForbidden: It may not.
        """
        for field in PolicyDocument.__struct_fields__:
            if field not in NOT_POLICY and getattr(before, field) != getattr(after, field):
                self.require(_takes(field), f"to change {field} of the policy")


def _who_may(permission: Permission) -> str:
    roles = [role for role in ROLES if permission in GRANTS[role]]
    if not roles:
        return "only the owner of the gateway's keys has it"
    *others, last = roles
    return f"{', '.join(others)} and {last} have it" if others else f"{last} has it"


def _takes(field: str) -> Permission:
    if field in OWNED_FIELDS:
        return "own"
    return "operate" if field in FIELDS_OF_OPERATORS else "secure"


async def access_of(
    credential: Credential | None, certificate: str, keys: Macs | None, records: Records
) -> Access:
    """What is permitted with this credential, or without one.

    Args:
        credential: Of the operator; None where none was given.
        certificate: File with certificate and key of the operator; empty for none.
        keys: What the policy is checked with; None where they are not at hand. With the keys of the gateway and
            no credential somebody is the owner, and nothing is asked.
        records: The store's records.
    """
    if credential is None and keys is not None:
        return Access()
    try:
        if credential is None or keys is None:
            return await _nobody(records)
        document = await PolicyRecord(records, keys).load() or PolicyDocument()
        return _proven(_signer(credential, certificate), document, await records.time_ms())
    except Unreachable:
        raise
    except MasError as error:
        return Access(credential.operator if credential is not None else "", problem=error)


def _signer(credential: Credential, certificate: str) -> Signer:
    if credential.token:
        return signer_of(credential)
    if not certificate:
        raise OperatorUnknown(
            f"the operator {credential.operator} is known by a certificate, and none is named here",
            hint=(
                "mas context add NAME --operator FILE --operator-cert FILE",
                "MAS_OPERATOR_CERT=FILE mas status",
            ),
        )
    from mas_core.security.certificate_files import read_pair  # noqa: PLC0415 - slow, and few have one
    from mas_core.security.operator_proofs import CertificateSigner  # noqa: PLC0415

    return CertificateSigner(credential.operator, read_pair(Path(certificate).expanduser()))


def _proven(signer: Signer, document: PolicyDocument, now: int) -> Access:
    """The access of whoever can sign a fresh text as the operator that it claims to be."""
    from mas_core.security.operator_proofs import check_proof  # noqa: PLC0415 - slow, and an owner needs it not

    name, fresh = signer.name, secrets.token_bytes(32)
    record = document.operators.get(name)
    check_proof(name, record, fresh, signer.sign(fresh), now=now, revoked=document.revoked_certificates)
    return Access(name, record.role, record.permissions, signer) if record is not None else Access()


async def _nobody(records: Records) -> Access:
    """Without keys nothing that is stored can be trusted; what claims to be a policy can only forbid."""
    text = (await records.policy()).get("document")
    if text is None:
        return Access()
    try:
        has_operators = bool(msgspec.json.decode(text, type=_Operators).operators)
    except (msgspec.DecodeError, RecursionError):
        raise IntegrityError("the stored policy cannot be read, so nobody knows who may do what") from None
    if has_operators:
        raise OperatorUnknown(hint=HOW)
    return Access()


class _Operators(msgspec.Struct):
    operators: dict[str, msgspec.Raw] = {}
