"""Operators: the people who work on a system, what their roles permit, and what the policy holds about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

import msgspec

Role = Literal["viewer", "operator", "security", "auditor"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)

Permission = Literal["see", "follow", "open", "operate", "secure", "evidence", "own"]

PERMISSIONS: Final[Mapping[Permission, str]] = {
    "see": "how things stand, without contents: agents, queues, rules, limits",
    "follow": "which messages went where and what became of them, without contents",
    "open": "contents: payloads, states, tasks, votes, topics",
    "operate": "run and stop agents, send, approve, and tend queues and circuits",
    "secure": "change rules, limits, keys and tokens, and how long evidence is kept",
    "evidence": "read the audit, prove, verify, export and report",
    "own": "what only the owner of the gateway's keys does: gateways, backups, operators",
}
"""What each permission is about."""

GRANTS: Final[Mapping[Role, frozenset[Permission]]] = {
    "viewer": frozenset({"see", "follow"}),
    "operator": frozenset({"see", "follow", "open", "operate"}),
    "security": frozenset({"see", "follow", "secure"}),
    "auditor": frozenset({"follow", "evidence"}),
}
"""What each role permits; nobody has `own` but the owner."""

WRITES: Final[Mapping[str, Permission]] = {
    "approval": "operate",
    "breaker": "operate",
    "dead_letter": "operate",
    "gateway": "operate",
    "limit": "operate",
    "queue": "operate",
    "schedule": "operate",
    "state": "operate",
    "archive": "secure",
    "certificate": "secure",
    "payload_key": "secure",
    "registry": "secure",
    "server_user": "secure",
}
"""What is written, as entries of the operator log name it -> what it takes; the rest is for the owner. The policy
is looked at field by field."""

FIELDS_OF_OPERATORS: Final = frozenset({"standings"})
"""Fields of the policy that `operate` changes; `secure` changes the others."""
OWNED_FIELDS: Final = frozenset({"operators"})


class OperatorKey(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The public half of what an operator proves an identity with; times in Unix milliseconds."""

    key_id: str
    signing_key: str
    """Ed25519, hex."""
    created: int
    expires: int = 0
    """When it ends; 0 for never."""

    def is_valid(self, now: int) -> bool:
        """Whether it counts at `now`."""
        return not self.expires or now < self.expires


class OperatorRecord(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One operator."""

    role: Role
    created: int
    by: str = ""
    """Who made it an operator."""
    key: OperatorKey | None = None
    """The token that counts; None where certificates do."""
    authorities: tuple[str, ...] = ()
    """Certificates, in PEM, of those who may issue certificates to this operator."""
    trust_domain: str = ""
    """In which the certificates name it."""

    @property
    def permissions(self) -> frozenset[Permission]:
        """What its role permits."""
        return GRANTS[self.role]
