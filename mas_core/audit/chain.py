"""The bytes of audit records, and how each holds the hash of the one before.

The hash covers exactly the stored bytes, so nothing is ever encoded again to check it. Who can rewrite the
whole chain can also compute its hashes, so it proves something only together with a hash kept elsewhere.
"""

from __future__ import annotations

import hashlib

import msgspec

from mas_core.model.audit_record import GENESIS, AuditRecord

encode_record = msgspec.json.Encoder().encode
"""An `AuditRecord` as it is stored and hashed: JSON text without a line break."""

decode_record = msgspec.json.Decoder(AuditRecord).decode


def record_hash(record: bytes) -> str:
    """SHA-256 of an encoded record, hex."""
    return hashlib.sha256(record).hexdigest()


class Chain:
    """The growing end of a chain: `seq` and `head` are number and hash of its last record."""

    __slots__ = ("head", "seq")

    def __init__(self, seq: int = 0, head: str = GENESIS) -> None:
        self.seq = seq
        self.head = head

    def append(self, record: AuditRecord) -> bytes:
        """Number and link `record`, whose own `seq` and `prev` are not looked at; returns its bytes."""
        return self.append_linked(msgspec.structs.replace(record, seq=self.seq + 1, prev=self.head))

    def append_linked(self, record: AuditRecord) -> bytes:
        """Take in a record that was made with `seq + 1` and `head`; returns its bytes."""
        text = encode_record(record)
        self.head = record_hash(text)
        self.seq += 1
        return text
