"""The reference that is made from the command table: man pages, and pages of the site."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

import mas_cli.errors
import mas_core.errors
from mas_cli.command_table import COMMANDS
from mas_cli.reference import markdown_pages
from mas_cli.reference.man_pages import man_pages
from mas_cli.reference.topics import error_rows


@pytest.fixture(scope="module")
def man() -> dict[str, str]:
    return man_pages("1.2")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return markdown_pages.pages()


def test_man_writes_a_page_for_each_command(mas, tmp_path):
    """And one for mas itself; they can be written again."""
    assert mas("man", "--out", "pages").code == 0
    ran = mas("man", "--out", "pages", "--output", "json")

    wanted = {"mas.1", *(f"mas-{entry.name.replace(' ', '-')}.1" for entry in COMMANDS)}
    assert {path.name for path in (tmp_path / "work" / "pages").iterdir()} == wanted
    assert {f"{row['page']}.1" for row in ran.json} == wanted


def test_man_says_when_it_cannot_write(mas, tmp_path):
    """A file in the way of the folder."""
    (tmp_path / "work" / "pages").write_text("")

    ran = mas("man", "--out", "pages")

    assert (ran.code, "pages cannot be written" in ran.err) == (2, True)


def test_man_pages_format_without_a_warning(man):
    """Every page at once, as man formats them."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")

    ran = subprocess.run(
        ["groff", "-k", "-man", "-ww", "-Tutf8", "-P-cbou"],
        input="".join(man.values()),
        capture_output=True,
        text=True,
        check=True,
    )

    assert ran.stderr == ""
    assert 'mas dlp scan \'{"note": "4111 1111 1111 1111"}\'' in ran.stdout
    assert "--decision allowed|alert|" in ran.stdout
    assert ran.stdout.count("EXIT STATUS") == len(man)


def test_a_line_of_text_is_no_request_of_roff(man):
    """Whatever a help text begins with."""
    requests = {word for text in man.values() for word in re.findall(r"^[.'](\S*)", text, re.MULTILINE)}

    assert requests == {"TH", "SH", "SS", "TP", "B", "PP", "ad", "nh", "nf", "fi"}


def test_every_command_has_its_place_in_the_pages(pages):
    """Once with everything, once in the overview with a link that leads there."""
    text = "\n".join(pages.values())

    for entry in COMMANDS:
        assert len(re.findall(rf"^##+ mas {entry.name}$", text, re.MULTILINE)) == 1
        assert f"[`mas {entry.name}`](" in pages["commands/index.md"]
        for example in entry.examples:
            assert example in text
        for when in entry.exit_codes.values():
            assert when in text


def test_every_error_code_is_listed_once(pages):
    """Those of the library, and those that only the command has."""
    codes = re.findall(r"^\| `(\w+)` \|", pages["error-codes.md"], re.MULTILINE)

    assert codes == [row["code"] for row in error_rows()]
    assert len(codes) == len(set(codes))
    assert {mas_core.errors.Forbidden.code, mas_cli.errors.ReadOnly.code} <= set(codes)
