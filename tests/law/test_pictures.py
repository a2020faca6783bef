"""The pictures of the documents: drawn by the project itself, the same each time, and fetching nothing."""

import asyncio
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from mas_cli import generated_files
from mas_cli.reference import pictures

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", pictures.SCREENS)
def test_a_picture_is_drawn_from_the_sample(name):
    """It shows its screen, and the same sample gives the same bytes."""
    with pictures._fixed_clock():
        first, again = (asyncio.run(pictures._drawn(name)) for _ in range(2))
    assert first == again
    shown = "".join(ET.fromstring(first).itertext()).replace("\xa0", " ")  # noqa: S314
    told = {
        "overview": "busiest pairs",
        "live": "denied",
        "rules": "operator → notebook",
        "trace": "at summarizer",
    }
    assert told[name] in shown
    assert not re.findall(r"(?:href|src|url)\W{1,3}https?:", first)


def test_pictures_are_there_and_used():
    """`make check` asks whether they are there; README and the page of the dashboard show them."""
    assert generated_files.broken_pictures() == []
    page = (ROOT / "docs" / "dashboard.md").read_text()
    assert all(f"(pictures/{name}.svg)" in page for name in pictures.SCREENS)
    assert "(docs/pictures/overview.svg)" in (ROOT / "README.md").read_text()


def test_a_broken_picture_is_told(tmp_path, monkeypatch):
    """One that is missing, and one that is no picture."""
    (tmp_path / "empty.svg").write_text("<svg")
    monkeypatch.setattr(generated_files, "PICTURES", [tmp_path / "none.svg", tmp_path / "empty.svg"])
    assert len(generated_files.broken_pictures()) == 2
