"""What the audit keeps of payloads beside their fingerprint as a whole, where the policy asks for it.

Which types it asks for is looked up once a type; a policy that asks for nothing costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mas_core.errors import MasError
from mas_core.gateway.transit import Transit
from mas_core.model.json_text import parse_json
from mas_core.model.policy import PolicyDocument
from mas_core.security.fingerprints import field_fingerprints
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.type_glob import compile_glob

MAX_TYPES: Final = 10_000
FIELDS: Final = "fields"


class PayloadEvidence:
    """Fingerprints of the leaves of payloads, by the policy.

    Args:
        keys: The gateway's keys.
        policy: Which types it asks for.
    """

    def __init__(self, keys: GatewayKeys, policy: PolicyDocument) -> None:
        self._keys = keys
        self._fingerprints = _ByType(policy.audit_fingerprints)

    @classmethod
    def of(cls, keys: GatewayKeys, policy: PolicyDocument) -> PayloadEvidence | None:
        """None where the policy asks for nothing."""
        wants_fields = FIELDS in policy.audit_fingerprints.values()
        return cls(keys, policy) if wants_fields else None

    def fingerprints(self, transit: Transit) -> dict[str, str]:
        """Of the leaves of a message that has any; empty when the policy does not ask, or it cannot be read."""
        envelope = transit.envelope
        if not transit.is_well_formed or self._fingerprints.get(envelope.type) != FIELDS:
            return {}
        try:
            # Parsed anew: what the stages hold may be redacted, and this is about what arrived.
            return field_fingerprints(self._keys, envelope.id, parse_json(envelope.data))
        except MasError:
            # What is no JSON was refused as that, and has its fingerprint as a whole.
            return {}


class _ByType:
    """What the most specific pattern says of a message type: the longest, and the later of equal ones."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self._said = sorted(said.items(), key=lambda item: len(item[0]))[::-1]
        self._known: dict[str, str | None] = {}

    def get(self, message_type: str) -> str | None:
        try:
            return self._known[message_type]
        except KeyError:
            pass
        matching = (value for glob, value in self._said if compile_glob(glob)(message_type))
        found = next(matching, None)
        if len(self._known) >= MAX_TYPES:
            self._known.clear()
        self._known[message_type] = found
        return found
