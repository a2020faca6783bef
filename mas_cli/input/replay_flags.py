"""Values of flags about recordings: how fast one is played, and how large one may get."""

from __future__ import annotations

import re

from mas_core.errors import UsageError

_SPEED = re.compile(r"x?([0-9]{1,4}(?:\.[0-9]{1,3})?)")
_SIZE = re.compile(r"([0-9]{1,12})(?:(k|M|G)?B?)?")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def parse_speed(text: str) -> float:
    """How many times as fast: `x2`, `x10`, `0.5`.

    Raises:
        UsageError: It is none of these.
    """
    found = _SPEED.fullmatch(text)
    if found is None or not float(found[1]):
        raise UsageError(f"--speed: {text!r} is not a speed", hint="such as x1, x2, x10 or x0.5")
    return float(found[1])


def parse_size(text: str) -> int:
    """Bytes from `500kB`, `100MB`, `2GB` or a plain number.

    Raises:
        UsageError: It is none of these.
    """
    found = _SIZE.fullmatch(text)
    if found is None or not int(found[1]):
        raise UsageError(f"--size: {text!r} is not a size", hint="such as 500kB, 100MB or 2GB")
    return int(found[1]) * _UNITS[found[2] or ""]
