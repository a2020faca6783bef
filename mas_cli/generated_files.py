"""Writes the files that are made from the command table: completion, and the reference in `docs/`.

`python -m mas_cli.generated_files` writes them; with `--check` it only says which are stale.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mas_cli.completion import generate
from mas_cli.output.plain_lines import write_lines
from mas_cli.reference.markdown_pages import pages

DOCS = Path(__file__).parents[1] / "docs"
COMMAND_PAGES = DOCS / "commands"


def generated() -> dict[Path, str]:
    """Every generated file and what belongs in it."""
    return {**generate.generated(), **{DOCS / path: text for path, text in pages().items()}}


def stale() -> list[Path]:
    """The files that are not what they should be, or that nothing makes any more."""
    wanted = generated()
    changed = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    return changed + [path for path in sorted(COMMAND_PAGES.glob("*")) if path not in wanted]


def main() -> int:
    """Write the generated files, or with --check name the stale ones and return 1."""
    parser = argparse.ArgumentParser(description="Write the generated files.")
    parser.add_argument("--check", action="store_true", help="only say which files are stale")
    outdated = stale()
    if parser.parse_args().check:
        write_lines(f"{path} is stale: run make gen" for path in outdated)
        return 1 if outdated else 0
    wanted = generated()
    for path in outdated:
        if path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
