"""Ordinary messages pass: what agents send each other all day is not disturbed."""

import base64
import random
import time
import uuid
from pathlib import Path

from ulid import ULID

from mas_core.security.dlp import Scanner, load_pack

SCANNER = Scanner(load_pack())
PACKAGE = Path(__file__).parents[4] / "mas_core"


def messages(count, seed=7):
    """Messages made of identifiers, digests, times, measurements, vectors and images."""
    rnd = random.Random(seed)
    for _ in range(count):
        moment = rnd.randint(1_500_000_000, 1_900_000_000)
        yield {
            "uuid": str(uuid.UUID(int=rnd.getrandbits(128))),
            "ulid": str(ULID.from_bytes(rnd.randbytes(16))),
            "sha256": rnd.randbytes(32).hex(),
            "sha1": rnd.randbytes(20).hex(),
            "object_id": rnd.randbytes(12).hex(),
            "milliseconds": moment * 1000 + rnd.randrange(1000),
            "microseconds": moment * 1_000_000,
            "nanoseconds": moment * 10**9 + rnd.randrange(10**9),
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)),
            "ratio": rnd.random(),
            "place": {"lat": rnd.uniform(-90, 90), "lon": rnd.uniform(-180, 180)},
            "counts": [rnd.randrange(10 ** rnd.randrange(1, 7)) for _ in range(rnd.randrange(6))],
            "vector": [rnd.gauss(0, 1) for _ in range(8)],
            "image": "data:image/png;base64," + base64.b64encode(rnd.randbytes(300)).decode(),
            "next_page": base64.urlsafe_b64encode(rnd.randbytes(24)).decode(),
            "url": f"https://example.com/a%20b?x={rnd.randrange(10**6)}&y=2#t",
            "max_tokens": rnd.randrange(5000),
        }


def disturbed(values):
    return [value for value in values if SCANNER.scan(value).action not in {"pass", "alert"}]


def test_identifiers_times_and_measurements_pass():
    """Of several thousand generated messages none is blocked, redacted or unscannable."""
    assert disturbed(messages(3000)) == []


def test_prose_and_code_pass():
    """The project's own sources pass, piece by piece, but for what holds samples."""
    pieces = [
        {"text": text[start : start + 600]}
        for path in sorted(PACKAGE.rglob("*.py"))
        for text in [path.read_text()]
        for start in range(0, len(text), 600)
    ]

    assert len(pieces) > 100
    assert disturbed(pieces) == []


def test_large_numeric_payloads_pass():
    """Vectors and tables of numbers are no cards."""
    rnd = random.Random(3)
    vector = [rnd.random() for _ in range(5000)]
    table = [[rnd.randrange(1000, 9999) for _ in range(50)] for _ in range(50)]

    assert disturbed([vector, table, {"csv": "\n".join(",".join(map(str, row)) for row in table)}]) == []
