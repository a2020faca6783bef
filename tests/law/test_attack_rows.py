"""Every attack of the threat model has a test that names it, and the document says where."""

import re
from pathlib import Path

from support.attack_rows import LATER, ROWS, TESTS, rows_with_tests

DOCUMENT = (Path(__file__).parents[2] / "docs" / "attacks.md").read_text()


def rows():
    """Row -> what the document says of its tests."""
    found = re.findall(r"^\| S([0-9]+) \| .+? \| (.+) \|$", DOCUMENT, re.MULTILINE)
    return {int(row): text for row, text in found}


def test_every_attack_has_a_test_or_waits_for_its_defence():
    """A test whose name begins with test_s and the number of the row."""
    found = rows_with_tests()

    assert sorted(row for row in ROWS if not found.get(row)) == sorted(
        row for row in LATER if not found.get(row)
    )


def test_the_document_has_every_row_once():
    """In the order of their numbers."""
    assert list(rows()) == list(ROWS)


def test_every_file_that_the_document_names_holds_a_test_of_that_row():
    """So that nobody looks in vain."""
    found = rows_with_tests()
    for row, text in rows().items():
        files = re.findall(r"`(tests/[^`]+)`", text)
        held = {name.partition("::")[0] for name in found.get(row, ())}

        assert set(files) <= held, f"S{row}: run python tests/support/attack_rows.py"
        assert files or row in LATER
        assert all((TESTS.parent / file).is_file() for file in files)
