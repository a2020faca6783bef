"""The controls of each standard that this system supports, read from the files in `standards`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import yaml

from mas_core.audit.report.document import Control, Standard
from mas_core.errors import UsageError

_FOLDER: Final = Path(__file__).with_name("standards")

STANDARDS: Final = ("hipaa", "soc2", "gdpr", "pci")
"""Names of the standards."""


@cache
def standard(name: str) -> Standard:
    """The standard of this name.

    Raises:
        UsageError: There is none.
    """
    if name not in STANDARDS:
        raise UsageError(f"--standard: {name!r} is no standard", hint=f"use some of {', '.join(STANDARDS)}")
    document = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return msgspec.convert({"name": name, **document}, Standard)


def parse_standards(text: str) -> tuple[Standard, ...]:
    """The standards of a list such as `hipaa,soc2`; `all` names every one.

    Raises:
        UsageError: One of them does not exist, or none is named.
    """
    names = [part.strip().lower() for part in text.split(",") if part.strip()]
    if names == ["all"]:
        names = list(STANDARDS)
    if not names:
        raise UsageError("--standard names no standard", hint=f"use some of {', '.join(STANDARDS)}, or all")
    return tuple(standard(name) for name in dict.fromkeys(names))


def controls() -> list[Control]:
    """All controls of all standards."""
    return [control for name in STANDARDS for control in standard(name).controls]
