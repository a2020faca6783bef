"""Counts the words of documents by section, and picks the sentence of each that says most.

Two agents of the sample project do the work: `word-counter`, which is `wc -w`, and `cleaner`, which hands what
it cleaned to `summarizer`. Sections that the policy does not let through are named, not counted.

    python count_words.py FILE... [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from mas_core import Agent, MasError, PayloadBlocked

AT_ONCE = 8


@dataclass
class Section:
    """A part of a document that begins with a heading, and what the agents say of it."""

    file: str
    heading: str
    words: int = 0
    summary: str = ""
    refused: str = ""


def sections_of(path: Path) -> Iterator[tuple[Section, str]]:
    """The sections of a Markdown document with their texts, which joined are the whole document."""
    heading, lines, is_code = "", [], False
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        is_code ^= line.startswith("```")
        if line.startswith("#") and not is_code:
            if lines:
                yield Section(path.name, heading), "".join(lines)
            heading, lines = line.strip("# \n"), []
        lines.append(line)
    if lines:
        yield Section(path.name, heading), "".join(lines)


async def count(paths: list[Path]) -> list[Section]:
    """Ask the agents about every section; several are under way at once."""
    limit = asyncio.Semaphore(AT_ONCE)
    async with Agent("reader") as reader:

        async def ask(section: Section, text: str) -> Section:
            try:
                async with limit:
                    counted = await reader.request("word-counter", "text.count", {"text": text})
                    summarized = await reader.request("cleaner", "text.clean", {"text": text, "sentences": 1})
            except PayloadBlocked as error:
                section.refused = error.message
            else:
                section.words = int(str(counted.data["output"]))
                section.summary = str(summarized.data["summary"])
            return section

        parts = itertools.chain.from_iterable(map(sections_of, paths))
        return await asyncio.gather(*(ask(section, text) for section, text in parts))


def main() -> int:
    """Print the sections, and how many words they have together."""
    parser = argparse.ArgumentParser(description="Count the words of documents by section.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one JSON object for each section")
    arguments = parser.parse_args()
    try:
        sections = asyncio.run(count(arguments.files))
    except MasError as error:
        print(error.message, *error.hint, sep="\n  ", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    for section in sections:
        if arguments.json:
            print(json.dumps(asdict(section)))
        else:
            print(f"{section.words or '-':>6}  {section.file}: {section.heading}")
            print(f"        {section.refused or section.summary}")
    if not arguments.json:
        print(f"{sum(section.words for section in sections):>6}  together")
    return 0


if __name__ == "__main__":
    sys.exit(main())
