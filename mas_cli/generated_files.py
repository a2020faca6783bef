"""Writes the generated files: completion and reference from the command table, and pictures of the dashboard.

`python -m mas_cli.generated_files` writes them; with `--check` it only says which are stale. Pictures differ a
little between versions of what draws them, so of these it only says which are missing or broken.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from mas_cli.completion import generate
from mas_cli.output.plain_lines import write_lines
from mas_cli.reference.markdown_pages import pages
from mas_cli.reference.pictures import FOLDER, SCREENS, pictures

DOCS = Path(__file__).parents[1] / "docs"
COMMAND_PAGES = DOCS / "commands"
PICTURES = [FOLDER / f"{name}.svg" for name in SCREENS]


def generated() -> dict[Path, str]:
    """Every generated file and what belongs in it."""
    return {**generate.generated(), **{DOCS / path: text for path, text in pages().items()}}


def stale() -> list[Path]:
    """The files that are not what they should be, or that nothing makes any more."""
    wanted = generated()
    changed = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    return changed + [path for path in sorted(COMMAND_PAGES.glob("*")) if path not in wanted]


def broken_pictures() -> list[Path]:
    """Pictures that are not there, or are no pictures."""
    return [path for path in PICTURES if not _is_picture(path)]


def _is_picture(path: Path) -> bool:
    try:
        return ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314 - our own files
    except (OSError, ET.ParseError):
        return False


def main() -> int:
    """Write the generated files, or with --check name the stale ones and return 1."""
    parser = argparse.ArgumentParser(description="Write the generated files.")
    parser.add_argument("--check", action="store_true", help="only say which files are stale")
    outdated = stale()
    if parser.parse_args().check:
        outdated += broken_pictures()
        write_lines(f"{path} is stale: run make gen" for path in outdated)
        return 1 if outdated else 0
    wanted = generated()
    for path, text in pictures().items():
        path.write_text(text)
    for path in outdated:
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
