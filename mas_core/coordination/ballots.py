"""Signed ballots: what a voter signs, and how anybody checks it.

Ballots are signed in sheets, one signature for as many as are cast together. A sheet is a Merkle tree as in
RFC 9162 section 2.1 with a ballot in each leaf; the signature covers its root, and each ballot is kept with the way
to it, so that it can be checked without the others. What is signed is a pre-authentication encoding as for
messages (`mas_core.model.signature`): kind, namespace, voter, key, number of ballots, root. A ballot names its
proposal by id and by the digest of all of it, the round, the voter and the choice, so it counts nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

from mas_core.model.signature import length_prefixed
from mas_core.model.vote import BallotSignature, CastBallot

MAX_ON_SHEET: Final = 1_000
_SHEET_KIND = b"application/vnd.mas.ballots.v1"


class Signer(Protocol):
    """Signs; `cryptography`'s Ed25519PrivateKey is one."""

    def sign(self, data: bytes, /) -> bytes:
        """The signature of `data`."""


def ballot_bytes(
    proposal_id: str, proposal_digest: str, round_number: int, voter: str, ranking: Sequence[str]
) -> bytes:
    """One ballot as it enters a sheet; different ballots never give the same bytes."""
    fields = (proposal_id, proposal_digest, str(round_number), voter, str(len(ranking)), *ranking)
    return b"mas ballot v1\x00" + length_prefixed(field.encode() for field in fields)


def sheet_bytes(namespace: str, voter: str, key_id: str, count: int, root: bytes) -> bytes:
    """What is signed of a sheet."""
    body = length_prefixed((namespace.encode(), voter.encode(), key_id.encode(), str(count).encode(), root))
    return b"DSSEv1 %d %b %d %b" % (len(_SHEET_KIND), _SHEET_KIND, len(body), body)


def sign_sheet(signer: Signer, namespace: str, voter: str, key_id: str, ballots: Sequence[bytes]) -> bytes:
    """The signature of ballots that are cast together."""
    return signer.sign(sheet_bytes(namespace, voter, key_id, len(ballots), Sheet(ballots).root))


def is_signed(public_key: str, data: bytes, signature: bytes) -> bool:
    """Whether the holder of an Ed25519 key (hex) signed `data`."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow, and few callers verify
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_valid_ballot(
    namespace: str, proposal_id: str, proposal_digest: str, round_number: int, ballot: CastBallot
) -> bool:
    """Whether the signature that is kept with a ballot covers exactly it, for this proposal and round."""
    signature = ballot.signature
    leaf = _leaf(ballot_bytes(proposal_id, proposal_digest, round_number, ballot.voter, ballot.ranking))
    root = _root_over(leaf, signature)
    if root is None:
        return False
    data = sheet_bytes(namespace, ballot.voter, signature.key_id, signature.count, root)
    return is_signed(signature.public_key, data, signature.value)


class Sheet:
    """The Merkle tree over ballots that are signed together."""

    def __init__(self, ballots: Sequence[bytes]) -> None:
        level = [_leaf(ballot) for ballot in ballots]
        self._levels = [level]
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=False)
            above = [_node(left, right) for left, right in pairs]
            # The last one without a neighbour moves up as it is.
            level = [*above, level[-1]] if len(level) % 2 else above
            self._levels.append(level)

    @property
    def root(self) -> bytes:
        """What the signature covers."""
        return self._levels[-1][0]

    def path(self, index: int) -> tuple[bytes, ...]:
        """The hashes beside the way from one ballot to the root."""
        beside = []
        for level in self._levels[:-1]:
            neighbour = index ^ 1
            if neighbour < len(level):
                beside.append(level[neighbour])
            index >>= 1
        return tuple(beside)


def _root_over(leaf: bytes, signature: BallotSignature) -> bytes | None:
    """The root that a way leads to; None where there is no such way on a sheet of that size."""
    index, width = signature.index, signature.count
    if not 0 <= index < width <= MAX_ON_SHEET:
        return None
    beside = iter(signature.path)
    found = leaf
    while width > 1:
        if index ^ 1 < width:
            other = next(beside, None)
            if other is None:
                return None
            found = _node(other, found) if index & 1 else _node(found, other)
        index, width = index >> 1, (width + 1) >> 1
    return found if next(beside, None) is None else None


def _leaf(ballot: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + ballot).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
