"""The site of docs/: every page is in the navigation, every link leads somewhere, and it can be built."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
DOCUMENTS = [
    *(REPOSITORY / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((REPOSITORY / "examples").rglob("*.md")),
]
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")


def pages(entries: object) -> Iterator[str]:
    """The pages of a navigation."""
    match entries:
        case str():
            yield entries
        case dict() | list():
            for entry in entries.values() if isinstance(entries, dict) else entries:
                yield from pages(entry)


def anchors(path: Path) -> set[str]:
    """Where links into a document can lead: its headings."""
    text = _BLOCK.sub("", path.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_navigation_once():
    """And the navigation names no other."""
    navigation = list(pages(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]))

    assert sorted(navigation) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(path):
    """To a file of the repository, and to a heading of it."""
    broken = []
    for link in _LINK.findall(_BLOCK.sub("", path.read_text())):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_pages_of_the_site_link_to_nothing_outside_of_it():
    """What is published is docs/ alone."""
    links = {link for path in DOCS.rglob("*.md") for link in _LINK.findall(path.read_text())}

    assert [link for link in links if link.startswith(("../../", "/"))] == []
    assert [
        link
        for path in DOCS.glob("*.md")
        for link in _LINK.findall(path.read_text())
        if link.startswith("../")
    ] == []


def test_the_site_is_built_without_a_warning(tmp_path):
    """As `make docs` does it."""
    if importlib.util.find_spec("zensical") is None:
        pytest.skip("zensical is not installed: make test installs it")
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)

    ran = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "mas-rbac-allow" in (tmp_path / "site" / "commands" / "rules.html").read_text()
