"""What the audit keeps of payloads beside their fingerprint as a whole, where the policy asks for it.

Which types it asks for is looked up once a type; a policy that asks for nothing costs nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mas_core.audit.payload_keys import MAX_SUBJECT, PayloadKey, PayloadKeys
from mas_core.base.logs import get_logger
from mas_core.errors import MasError, SecretUnavailable
from mas_core.gateway.transit import Transit
from mas_core.model.json_text import parse_json
from mas_core.model.policy import PolicyDocument
from mas_core.security.fingerprints import at_pointer, field_fingerprints
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.type_glob import compile_glob

log = get_logger(__name__)

MAX_TYPES: Final = 10_000
MAX_KNOWN_KEYS: Final = 10_000
KEY_KNOWN_S: Final = 1.0
"""How long the key of a subject is kept in memory."""
FIELDS: Final = "fields"


class PayloadEvidence:
    """Fingerprints of the leaves of payloads, and sealed copies of payloads, by the policy.

    Args:
        keys: The gateway's keys.
        policy: Which types it asks for.
        folder: Where the keys of subjects are; None where this gateway has no place for them.
    """

    def __init__(self, keys: GatewayKeys, policy: PolicyDocument, folder: Path | None) -> None:
        self._keys = keys
        self._fingerprints = _ByType(policy.audit_fingerprints)
        self._subjects = _ByType(policy.audit_payloads)
        self._folder = folder
        self._payload_keys: PayloadKeys | None = None
        self._known: dict[str, PayloadKey] = {}
        self._known_until = 0.0
        self._copies: list[tuple[int, bytes]] = []
        self.problem = ""
        """Why copies that the policy asks for are not made; empty when they are."""

    @classmethod
    def of(cls, keys: GatewayKeys, policy: PolicyDocument, folder: Path | None) -> PayloadEvidence | None:
        """None where the policy asks for nothing."""
        is_asked = FIELDS in policy.audit_fingerprints.values() or policy.audit_payloads
        return cls(keys, policy, folder) if is_asked else None

    def keep_copy(self, transit: Transit, seq: int) -> None:
        """Seal what is delivered of a message, where the policy asks for it; its record names key and digest.

        What is refused leaves no copy. The digest is that of the sealed bytes, so the chain proves the copy and
        holds nothing that could be guessed once the key of the subject is destroyed.
        """
        pointer = self._subjects.get(transit.envelope.type)
        is_kept = transit.decision.is_accepted and transit.is_well_formed and not transit.is_repeat
        if pointer is None or not is_kept:
            return
        payload = transit.data or transit.envelope.data
        sealed: dict[str, object]
        try:
            key = self._key(_subject(transit, pointer))
            copy = key.seal(payload, transit.envelope.id.encode())
            self._copies.append((seq, copy))
            sealed = {"key": key.key_id, "sha256": hashlib.sha256(copy).hexdigest()}
            self.problem = ""
        except MasError as error:
            if not self.problem:
                log.error("payload_copy.failed", reason=error.message)
            self.problem = error.message
            sealed = {"missing": True}
        transit.details = {**(transit.details or {}), "sealed": sealed}

    def take_copies(self) -> list[tuple[int, bytes]]:
        """Number of the record and sealed copy of what was recorded since the last time."""
        copies, self._copies = self._copies, []
        return copies

    def _key(self, subject: str) -> PayloadKey:
        now = time.monotonic()
        if now > self._known_until or len(self._known) >= MAX_KNOWN_KEYS:
            # A key that was destroyed meanwhile must not seal for long what nobody could read.
            self._known.clear()
            self._known_until = now + KEY_KNOWN_S
        key = self._known.get(subject)
        if key is None:
            if self._payload_keys is None:
                if self._folder is None:
                    raise SecretUnavailable("this gateway has no folder for the keys of payloads")
                self._payload_keys = PayloadKeys(self._folder)
            key = self._known[subject] = self._payload_keys.key_for(subject)
        return key

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


def _subject(transit: Transit, pointer: str) -> str:
    """Whom a payload is about: what stands at the pointer, if it can be a subject, else the sender."""
    if pointer:
        try:
            found = at_pointer(parse_json(transit.envelope.data), pointer)
        except MasError:
            found = None
        text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
        if 0 < len(text) <= MAX_SUBJECT and not any(ord(letter) < 0x20 for letter in text):
            return text
    return transit.sender


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
