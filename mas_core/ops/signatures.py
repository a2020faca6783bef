"""Checks signatures that the audit keeps, for an auditor who has no reason to trust the gateway."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mas_core.audit.chain import decode_record
from mas_core.errors import KeyNotFound, MessageNotFound, SignatureInvalid, UsageError
from mas_core.model.audit_record import AuditRecord
from mas_core.model.signature import Statement, payload_digest
from mas_core.ops import audit
from mas_core.ops.system import System


class _SignatureDetails(msgspec.Struct, frozen=True):
    algorithm: str
    value: str
    namespace: str
    sent_at: int
    ttl_ms: int
    priority: int
    flags: int
    payload: str
    headers: str = ""


@dataclass(frozen=True, slots=True)
class SignatureCheck:
    """What a recorded signature proves."""

    record: AuditRecord
    is_right: bool
    """Whether the holder of the public key signed exactly what the record says of the message."""
    is_payload: bool | None
    """Whether it was signed with the payload that was given; None when none was."""


async def signed_records(system: System, message_id: str) -> list[AuditRecord]:
    """The records of a message that carry its signature, oldest first.

    Raises:
        MessageNotFound: There is none.
    """
    return _signed(message_id, (found.record for found in await audit.get(system, message_id)))


def signed_records_in(path: Path, message_id: str) -> list[AuditRecord]:
    """The records of a message that carry its signature, in an export as JSON Lines.

    Raises:
        MessageNotFound: There is none.
        UsageError: The file cannot be read, or is not such an export.
    """
    try:
        lines = path.read_bytes().splitlines()
        return _signed(message_id, (decode_record(line) for line in lines if line))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="mas audit export --format jsonl --out audit.jsonl",
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is no export of the audit as JSON Lines: {error}",
            hint="mas audit export --format jsonl --out audit.jsonl",
        ) from error


async def public_key_for(system: System, record: AuditRecord) -> str:
    """The Ed25519 public key (hex) that the registry holds for a record, also when it counts no more.

    Raises:
        AgentNotFound, KeyNotFound: It holds none.
    """
    entry = await system.registry.get(record.sender)
    for key in entry.registration.keys:
        if key.key_id == record.key_id:
            return key.signing_key
    raise KeyNotFound(
        f"the registry has no key {record.key_id} of {record.sender} any more", hint="--public-key HEX"
    )


def check_public_key(text: str) -> None:
    """Make sure that a text is an Ed25519 public key in hex, so that a wrong one is not taken for a forgery.

    Raises:
        UsageError: It is none.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    except ValueError:
        raise UsageError(
            "this is no Ed25519 public key: it takes 64 hex digits", hint="mas key list -o json"
        ) from None


def check(
    record: AuditRecord, public_key: str, *, payload: bytes | None = None, salt: bytes = b""
) -> SignatureCheck:
    """Check the signature in a record; needs nothing but the record and the key.

    Args:
        record: A record with a signature.
        public_key: The sender's Ed25519 public key in hex, from a source that you trust.
        payload: Exact bytes of the payload, to check that they are what was signed.
        salt: The salt that travelled with the message; its receiver has it.

    Raises:
        MessageNotFound: The record carries no signature.
        UsageError: The public key is none.
    """
    check_public_key(public_key)
    details = _details(record)
    if details is None:
        raise MessageNotFound(f"the record {record.seq} carries no signature")
    try:
        signed = bytes.fromhex(details.payload)
        statement = Statement(
            namespace=details.namespace,
            sender=record.sender,
            key_id=record.key_id,
            target=record.target,
            type=record.type,
            message_id=record.message_id,
            sent_at=details.sent_at,
            ttl_ms=details.ttl_ms,
            priority=details.priority,
            flags=details.flags,
            correlation=record.correlation_id,
            payload=signed,
            headers=bytes.fromhex(details.headers),
            algorithm=details.algorithm,
        )
        statement.verify(b64decode(details.value), public_key)
    except (SignatureInvalid, ValueError):
        return SignatureCheck(record, is_right=False, is_payload=None if payload is None else False)
    is_payload = None if payload is None else hmac.compare_digest(payload_digest(salt, payload), signed)
    return SignatureCheck(record, is_right=True, is_payload=is_payload)


def _signed(message_id: str, records: Iterable[AuditRecord]) -> list[AuditRecord]:
    found = [record for record in records if record.message_id == message_id and _details(record)]
    if not found:
        raise MessageNotFound(
            f"no record of {message_id} carries a signature", hint=f"mas audit get {message_id}"
        )
    return found


def _details(record: AuditRecord) -> _SignatureDetails | None:
    try:
        return msgspec.convert(record.details.get("signature"), _SignatureDetails)
    except msgspec.ValidationError:
        return None
