"""Bytes that are nearly right: seeds, changed a little or a lot."""

from __future__ import annotations

import random
from collections.abc import Sequence

TOKENS = (
    b"\x00", b"\xff", b"\xc1", b"\x91", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x9f" * 40,
    b"\xcf" + b"\xff" * 8,
    b"{", b"}", b"[" * 80, b"]", b'"', b"\\ud800", b"\\u0000", b"NaN", b"1e999", b"-0", b"9" * 40, b"null", b"true",
    b"\n", b"\t", b": ", b"- ", b"&a ", b"*a", b"!!python/name:os.system ", b"!!binary ", b"|", b">", b"? ",
    b"<<: *a",
    b"%YAML 1.1\n---\n", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"(a+)+$", b"(?P<x>", b"\\p{L}{1,1000}",
    b"role:", b"*", b"->",
    b"4111111111111111", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80",
)  # fmt: skip
MAX_BYTES = 20_000


def mutated(rnd: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with a few changes, or something made up."""
    if rnd.random() < 0.03:
        return rnd.randbytes(rnd.randrange(64))
    data = bytearray(rnd.choice(seeds))
    for _ in range(rnd.choice((1, 1, 2, 3, 5, 12))):
        at = rnd.randrange(len(data) + 1)
        end = min(len(data), at + rnd.choice((1, 1, 2, 4, 8, 32)))
        match rnd.randrange(7):
            case 0:
                data[at:end] = b""
            case 1:
                data[at:at] = rnd.choice(TOKENS)
            case 2:
                data[at:end] = rnd.choice(TOKENS)
            case 3 if at < len(data):
                data[at] ^= 1 << rnd.randrange(8)
            case 4:
                data[at:at] = data[at:end] * rnd.choice((1, 2, 50))
            case 5:
                other = rnd.choice(seeds)
                start = rnd.randrange(len(other) + 1)
                data[at:end] = other[start : start + rnd.randrange(1, 40)]
            case _:
                data[at:end] = rnd.randbytes(end - at)
    return bytes(data[:MAX_BYTES])
