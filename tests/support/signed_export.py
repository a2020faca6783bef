"""Files that commands about keys and signatures take: a public key, and an export with a signed message."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mas_core.audit.chain import Chain
from mas_core.model.audit_record import AuditRecord
from mas_core.model.signature import ALGORITHM, Statement, payload_digest

_KEY = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
PUBLIC_KEY = _KEY.public_key().public_bytes_raw().hex()
SALT = b"0123456789abcdef"
PAYLOAD = b'{"n":1}'


def write_public_key(path: Path) -> None:
    """A public X25519 key in PEM, another one each time."""
    key = X25519PrivateKey.generate().public_key()
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def signed_record(**changes: object) -> AuditRecord:
    """The record of the message m1, which alice signed; `changes` are made after that."""
    digest = payload_digest(SALT, PAYLOAD)
    statement = Statement("mas", "alice", "k1", "bob", "x", "m1", 5, 6, 7, 32, "", digest, b"")
    details = {
        "algorithm": ALGORITHM,
        "value": b64encode(_KEY.sign(statement.signed_bytes())).decode(),
        "namespace": "mas", "sent_at": 5, "ttl_ms": 6, "priority": 7, "flags": 32,
        "payload": digest.hex(), "headers": "",
    }  # fmt: skip
    values: dict[str, object] = {
        "decision": "allowed", "sender": "alice", "key_id": "k1", "target": "bob", "type": "x", "message_id": "m1",
    }  # fmt: skip
    inner = {name: value for name, value in changes.items() if name in details}
    values |= {name: value for name, value in changes.items() if name not in details}
    return AuditRecord(seq=1, time=9, prev="", details={"signature": {**details, **inner}}, **values)  # type: ignore[arg-type]


def write_signed_export(path: Path, **changes: object) -> None:
    """An export as JSON Lines with this record."""
    path.write_bytes(Chain().append(signed_record(**changes)) + b"\n")
