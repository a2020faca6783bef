"""Refusals on standard error say each thing once."""

import io

import pytest

from mas_cli.output.colours import Palette
from mas_cli.output.diagnostics import Diagnostics
from mas_cli.output.exit_codes import ExitCode
from mas_core.errors import Forbidden

TASK = "operator may not assign task.assign to task:default"


@pytest.mark.parametrize(
    ("message", "because", "shown"),
    [
        (
            "a may not send x to b",
            f"Authorization denied: no rule allows it: {TASK}",
            "  because  no rule allows it\n",
        ),
        (
            "a may not send x to b",
            "Authorization denied: b is blocked: by me",
            "  because  b is blocked: by me\n",
        ),
        (
            "Authorization denied: no rule allows a to read b",
            None,
            "mas: refused: no rule allows a to read b ",
        ),
    ],
)
def test_a_refusal_says_each_thing_once(message, because, shown):
    """The label says that it was refused and the headline what, so the reason repeats neither."""
    stream = io.StringIO()
    details = {} if because is None else {"because": because}
    Diagnostics(stream, Palette(False)).error(Forbidden(message, **details), ExitCode.REFUSED)
    assert shown in stream.getvalue()
    assert "Authorization denied" not in stream.getvalue()
