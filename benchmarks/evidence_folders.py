"""An evidence folder of any size, written as fast as it goes: records, segments and the index, without a tree."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from mas_core.audit.chain import Chain
from mas_core.audit.index_keeper import IndexKeeper
from mas_core.audit.segments import SEGMENT_RECORDS, write_segment
from mas_core.model.audit_record import AuditRecord

SENDERS = 1000
START = 1_700_000_000_000
_TYPES = ("invoice.create", "invoice.pay", "task.process", "log.line")


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and what the index cost."""

    folder: Path
    records: int
    index_us: float
    """Microseconds of the index for each record."""
    index_bytes: int
    seconds: float


def sender_of(number: int) -> str:
    """The name of a sender."""
    return f"agent-{number:04}"


def message_id(seq: int) -> str:
    """The id of the message in a record."""
    return f"01K{seq:023}"


def write_folder(folder: Path, count: int) -> Written:
    """Write a folder with so many records of a thousand senders, one partition."""
    began = time.perf_counter()
    chance = random.Random(3)  # noqa: S311 - the same folder each time
    place = folder / "p0"
    place.mkdir(parents=True, mode=0o700)
    chain, keeper, spent = Chain(), IndexKeeper(folder), 0.0
    digests = [os.urandom(32).hex() for _ in range(997)]
    names = [sender_of(number) for number in range(SENDERS)]
    for first in range(1, count + 1, SEGMENT_RECORDS):
        records = [
            chain.append_linked(
                AuditRecord(
                    seq=seq,
                    time=START + seq,
                    decision="denied" if seq % 50 == 0 else "allowed",
                    reason="",
                    rule=f"r{seq % 20}",
                    sender=names[int(chance.random() * SENDERS)],
                    key_id="k1",
                    target=names[int(chance.random() * SENDERS)],
                    type=_TYPES[seq & 3],
                    message_id=message_id(seq),
                    instance="a1b2c3d4",
                    size=321,
                    payload_hmac=digests[seq % 997],
                    gateway="gateway-1",
                    prev=chain.head,
                )
            )
            for seq in range(first, min(count, first + SEGMENT_RECORDS - 1) + 1)
        ]
        lines = b"".join(text + b"\n" for text in records)
        if len(records) == SEGMENT_RECORDS:
            write_segment(place, first, records, sha256(lines).digest())
        else:
            (place / "open.jsonl").write_bytes(lines)
        before = time.perf_counter()
        for start in range(0, len(records), 1000):
            keeper.take(0, records[start : start + 1000])
        spent += time.perf_counter() - before
    keeper.close()
    size = sum(path.stat().st_size for path in place.glob("index.sqlite*"))
    return Written(folder, count, spent / count * 1e6, size, time.perf_counter() - began)
