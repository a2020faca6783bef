"""Whether records that are to be signed continue the chain."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

import msgspec

from mas_core.errors import LogDiscontinued

Discontinuity = Literal["rolled_back", "forked", "gap", "unreadable"]


class _Link(msgspec.Struct):
    seq: int
    prev: str


_read_link = msgspec.json.Decoder(_Link).decode


def linked(partition: int, size: int, head: str, records: Sequence[bytes]) -> list[bytes]:
    """The leaf hashes of records that come next in a chain.

    Args:
        partition: Whose chain.
        size: Number of its last record.
        head: SHA-256 of that, hex.
        records: What comes next.

    Raises:
        LogDiscontinued: They do not; names the first.
    """
    number, before = size, head.encode()
    leaves = []
    for record in records:
        number += 1
        # As records are written here; any other order of their fields is read properly.
        if not (record.startswith(b'{"seq":%d,' % number) and record.endswith(b'"prev":"%s"}' % before)):
            _check(partition, number, before.decode(), record)
        before = sha256(record).hexdigest().encode()
        leaves.append(sha256(b"\x00" + record).digest())
    return leaves


def number_of(record: bytes) -> int | None:
    """The number that a record gives itself; None when it is none."""
    try:
        return _read_link(record).seq
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def discontinued(partition: int, sequence: int, kind: Discontinuity) -> LogDiscontinued:
    """The error of a log that does not go on as it was."""
    what = {
        "rolled_back": f"the store holds no record {sequence} any more",
        "forked": f"record {sequence} in the store does not follow the one before it in the evidence",
        "gap": f"record {sequence} is missing in the store",
        "unreadable": f"record {sequence} in the store is none",
    }[kind]
    return LogDiscontinued(
        f"partition {partition}: {what}; nothing is signed until somebody has looked",
        hint=("mas audit verify", "mas audit resume --accept-restore --reason REASON"),
        partition=partition,
        sequence=sequence,
        kind=kind,
    )


def _check(partition: int, number: int, before: str, record: bytes) -> None:
    kind: Discontinuity = "unreadable"
    try:
        link = _read_link(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise discontinued(partition, number, kind) from None
    if b"\n" not in record:
        if link.seq == number and link.prev == before:
            return
        kind = "forked" if link.seq <= number else "gap"
    raise discontinued(partition, number, kind)
