"""The table of the benchmarks: when a target is met, and what is said when there is no figure."""

from __future__ import annotations

import re

from benchmarks.plot import as_svg
from benchmarks.table import Row, as_markdown, as_text, not_measured


def test_the_median_decides():
    """One bad round does not spoil a row, and one good round does not save it."""
    assert Row("a", "", [1.0, 4.0, 5.0], at_least=3.0).verdict == "met"
    assert Row("a", "", [1.0, 2.0, 5.0], at_least=3.0).verdict == "missed"
    assert Row("a", "", [9.0, 7.0, 7.5], at_most=8.0).verdict == "met"
    assert Row("a", "", [9.0, 9.0, 7.5], at_most=8.0).verdict == "missed"


def test_what_was_not_measured_says_why():
    """Never left out, never counted as met."""
    row = not_measured("against x", "at least 15 times", "x cannot be\ninstalled")

    assert row.verdict == "not measured"
    assert "x cannot be installed" in as_text([row])
    assert "| x cannot be installed | not measured |" in as_markdown([row], "today", [])


def test_a_row_shows_median_and_spread():
    """And the figures that it was made of."""
    text = as_markdown(
        [Row("a", "at least 3", [3.0, 2.0, 4.0], at_least=3.0, figures={"b": 1234.5})], "t", []
    )

    assert "| a | at least 3 | 3.00 (2.00 to 4.00) | met | b 1,234 |" in text


def test_the_picture_shows_how_far_a_row_is_from_its_target():
    """Half of what is asked is half way to the line; a hostile name stays text; others are left out."""
    rows = [
        Row("<script>", "at least 4", [2.0], at_least=4.0),
        Row("fast", "at most 8 us", [4.0], unit="us", at_most=8.0),
        not_measured("gone", "at least 1", "no network"),
    ]
    picture = as_svg(rows, "today")
    widths = re.findall(r'<rect [^>]*width="([0-9.]+)"[^>]*class="(\w+)"', picture)
    assert [kind for _, kind in widths] == ["bad", "good"]
    assert float(widths[1][0]) == 4 * float(widths[0][0])
    assert "&lt;script&gt;" in picture
    assert "<script>" not in picture
    assert "gone" not in picture
