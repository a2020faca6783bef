"""Tokens that were just made: where they went, or the token itself where that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mas_cli.output.columns import Column
from mas_cli.output.formats import Output
from mas_cli.output.moments import moment
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.agents import IssuedToken


def check_destination(tokens_dir: Path | None, *, show: bool) -> None:
    """Make sure that a token about to be made has somewhere to go.

    Raises:
        UsageError: No folder of tokens is known and nobody asked to see it.
    """
    if tokens_dir is None and not show:
        raise UsageError(
            "no folder of tokens is known for this system, so the token would be lost",
            hint=("--show", "mas context add NAME --tokens-dir DIR"),
        )


def write_issued(out: Output, issued: IssuedToken) -> None:
    """Write what was made; the token only when there is no file that holds it."""
    columns = [Column("id"), Column("key_id"), Column("expires", kind="time"), Column("path")]
    record: dict[str, object] = {
        "id": issued.agent_id,
        "key_id": issued.key_id,
        "expires": moment(issued.expires),
        "path": None if issued.path is None else str(issued.path),
    }
    if issued.token:
        columns[-1] = Column("token")
        record["token"] = issued.token
    out.record(columns, record)
