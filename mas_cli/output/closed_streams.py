"""Standard streams that whoever started us has closed."""

from __future__ import annotations

import os
import sys


def fill_closed_streams() -> None:
    """What was closed before we began leads nowhere, and no file or socket of ours gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
