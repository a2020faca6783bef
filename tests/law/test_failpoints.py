"""Every failpoint of the product is one that the harness kills at."""

import re
from pathlib import Path

from tests.faults.points import ALL_POINTS, COMMAND_POINTS

SOURCES = Path(__file__).parents[2] / "mas_core"


def test_the_harness_knows_every_failpoint_of_the_source():
    """A step that is added with a failpoint is a step at which processes are killed; the slice sees it reached."""
    found = [
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r'\bfailpoint\("([^"]+)"\)', path.read_text())
    ]

    assert sorted(found) == sorted(set(found)), "two places have one name"
    assert set(found) == {*ALL_POINTS, *COMMAND_POINTS}


def test_commands_are_killed_at_each_of_their_steps():
    """By the tests of the command, which finish it afterwards."""
    text = (Path(__file__).parents[1] / "integration" / "test_partitions.py").read_text()
    places = re.search(r"^PLACES = \[(.+)\]$", text, re.MULTILINE)[1]

    assert sorted(re.findall(r'"([a-z_]+)', places)) == sorted(
        name.partition(".")[2] for name in COMMAND_POINTS
    )
