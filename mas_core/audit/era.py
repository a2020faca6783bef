"""Eras of a log: after a restore that somebody accepted the log begins anew, and says so.

The folder of a partition keeps its name with the number of the era behind it, and the new one has a file that
names what was before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from mas_core.audit.checkpoint import Era, TreeState
from mas_core.errors import EvidenceDamaged
from mas_core.settings.private_files import read_private

ERA_FILE: Final = "era"


class EraFile(msgspec.Struct, frozen=True, kw_only=True):
    """Why the log of a partition began anew, and what it was before."""

    era: int
    """1 for the first that was begun so."""
    size: int
    """Records of the log before."""
    root: str
    """Root of the log before, hex."""
    reason: str
    by: str
    time: int
    """Unix milliseconds."""


def read_era(folder: Path) -> Era | None:
    """What the folder of a partition says of its era; None for the first.

    Raises:
        EvidenceDamaged: It cannot be read.
    """
    path = folder / ERA_FILE
    if not path.exists():
        return None
    try:
        found = msgspec.json.decode(read_private(path), type=EraFile)
        return Era(found.era, TreeState(found.size, bytes.fromhex(found.root)))
    except (msgspec.DecodeError, ValueError) as error:
        raise EvidenceDamaged(f"{path} cannot be read", path=str(path)) from error
