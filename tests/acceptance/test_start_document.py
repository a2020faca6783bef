"""The ten-minute start of docs/start.md works as typed, from an empty folder."""

from pathlib import Path

import pytest
from support.shell_documents import differences, shell_of, steps_of

START = Path(__file__).parents[2] / "docs" / "start.md"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_ten_minute_start_ends_and_answers_as_written(tmp_path):
    """Refused, allowed, delivered, traced, exported and verified."""
    folder = tmp_path / "home"
    folder.mkdir()
    problems = []

    with shell_of(folder, seconds=280) as shell:
        for step in steps_of(START.read_text()):
            code, lines = shell.run(step.command)
            found = differences(step.output, lines) if step.output != ["..."] else []
            if found or code != step.exit_code:
                problems += [f"{step.line}: $ {step.command} ended with {code}", *found, *lines]

    assert not problems, "\n".join(problems)
