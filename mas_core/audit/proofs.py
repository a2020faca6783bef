"""Proofs that fit into a mail: one record, its place in the tree, and the signed checkpoint that covers it.

A proof needs neither the log nor the server to be checked; `docs/check_proof.py` does it in forty lines.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from mas_core.audit.chain import decode_record
from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.evidence_reader import CHECKPOINTS_NAME, EvidenceReader, open_plain
from mas_core.audit.merkle import HASH_SIZE, inclusion_proof, leaf_hash, verify_inclusion
from mas_core.audit.note import Note, VerifierKey, last_note
from mas_core.errors import ChainBroken, MessageNotFound, NoteInvalid, ProofInvalid
from mas_core.model.audit_record import AuditRecord

FORMAT: Final = "mas audit proof 1"
MAX_PROOF_BYTES: Final = 1 << 20
_TAIL = 1 << 20


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof as it stands in its file."""

    format: str = FORMAT
    record: str
    """The record, exactly as it is stored."""
    index: int
    """Number of its leaf: one less than its sequence number."""
    size: int
    """Leaves of the tree."""
    hashes: str
    """The hashes of the inclusion proof, one after the other, base64."""
    checkpoint: str
    """The signed note with the root of the tree."""


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof proves."""

    record: AuditRecord
    checkpoint: Checkpoint
    key: VerifierKey
    """Who signed the checkpoint."""


def prove(reader: EvidenceReader, seq: int, keys: Sequence[VerifierKey]) -> bytes:
    """The proof of one record under the newest checkpoint, checked before it is given.

    Args:
        reader: Of the partition.
        seq: Number of the record.
        keys: Whose checkpoints count.

    Raises:
        MessageNotFound: The record is not here, or no checkpoint covers it yet.
        ProofInvalid: What is here does not prove it.
        ChainBroken: Its segment cannot be read.
    """
    note = _newest_note(reader)
    text = reader.record(seq) if seq > 0 else None
    if text is None:
        raise MessageNotFound(
            f"there is no record {seq} in {reader.path}", hint="mas audit list", identifier=str(seq)
        )
    try:
        checkpoint = Checkpoint.parse(Note.parse(note).text) if note else None
        if checkpoint is None or checkpoint.size < seq:
            raise MessageNotFound(
                f"no checkpoint covers record {seq} yet", hint="mas audit notary status", identifier=str(seq)
            )
        hashes = inclusion_proof(seq - 1, checkpoint.size, reader.read_hash)
        made = msgspec.json.encode(
            Proof(
                record=text.decode(),
                index=seq - 1,
                size=checkpoint.size,
                hashes=base64.b64encode(b"".join(hashes)).decode(),
                checkpoint=note.decode(),
            )
        )
    except (NoteInvalid, ChainBroken, UnicodeDecodeError) as error:
        why = getattr(error, "message", "the record is no text")
        raise ProofInvalid(f"record {seq} cannot be proven: {why}", hint="mas audit verify") from error
    check(made, keys)
    return made


def check(data: bytes, keys: Sequence[VerifierKey]) -> Proven:
    """What a proof proves to whoever trusts these keys.

    Raises:
        ProofInvalid: Nothing.
    """
    try:
        proof = msgspec.json.decode(data, type=Proof) if len(data) <= MAX_PROOF_BYTES else None
        if proof is None or proof.format != FORMAT:
            raise ProofInvalid("this is no proof of an audit record")
        note = Note.parse(proof.checkpoint.encode())
        signers = note.signed_by(keys)
        checkpoint = Checkpoint.parse(note.text)
        joined = base64.b64decode(proof.hashes, validate=True)
        text = proof.record.encode()
        record = decode_record(text)
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError, NoteInvalid) as error:
        why = error.message if isinstance(error, NoteInvalid) else "it cannot be read"
        raise ProofInvalid(f"this proves nothing: {why}") from error
    if not signers:
        raise ProofInvalid("no key that was given signed the checkpoint", hint="mas audit key show")
    key = signers[-1]
    if not checkpoint.origin.startswith(f"{key.name}/"):
        raise ProofInvalid(f"the checkpoint is of another system: {checkpoint.origin}")
    if checkpoint.size != proof.size or record.seq != proof.index + 1:
        raise ProofInvalid("the proof contradicts itself: size or number of the record")
    hashes = [joined[at : at + HASH_SIZE] for at in range(0, len(joined), HASH_SIZE)]
    if not verify_inclusion(leaf_hash(text), proof.index, proof.size, hashes, checkpoint.root):
        raise ProofInvalid("the record is not in the tree that the checkpoint signs")
    return Proven(record, checkpoint, key)


def _newest_note(reader: EvidenceReader) -> bytes:
    try:
        with open_plain(reader.path / CHECKPOINTS_NAME) as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - _TAIL))
            tail = file.read()
    except FileNotFoundError:
        return b""
    place = last_note(tail)
    return tail[slice(*place)].removesuffix(b"\n") if place else b""
