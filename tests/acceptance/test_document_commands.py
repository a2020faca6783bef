"""Every command of the pages in docs/ can be typed: `sh` blocks run on one system, `console` blocks elsewhere.

A block that cannot run there has `<!-- not run: why -->` in the line before it. What is named in running text
is held against the command table.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.followed_evidence import write_archive
from support.running_system import running_system

from mas_cli import app
from mas_cli.command_parser import parser_for
from mas_cli.command_table import COMMANDS
from mas_cli.input.shared_flags import SHARED_FLAGS
from mas_cli.routing import route

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.glob("*.md"))
SESSIONS = {
    "README.md": "test_readme",
    "evidence.md": "test_evidence_document",
    "start.md": "test_start_document",
}
"""Documents with `console` blocks, and the test that runs them."""

BEFORE = (
    "mas agent register billing",
    "mas rbac role create workers calculator notebook",
    "mas send calculator math.note {} --id MESSAGE-ID",
)
"""What the pages speak of."""

SETTINGS = "gateway: {audit: {daily: logs, archive: {url: /mnt/cold}}}\n"
"""What the pages say is set."""

EXIT_CODES = {
    # this system is not empty, and says so
    "mas backup restore /mnt/cold/mas.zip --dry-run": 7,
    "mas backup restore /mnt/cold/mas.zip": 7,
    # nothing was restored here
    "mas audit resume --accept-restore --reason 'restored after disk loss, ticket 4711'": 7,
    # no runner has renewed what the old one has issued
    "mas cert ca --drop-older": 7,
    # it was revoked above
    "mas cert inspect .mas/certs/agents/billing.pem": 1,
    # it asks, and nobody is there
    "mas partitions set 4": 2,
    # there are gaps
    "mas audit report --standard pci --period 2026-10-01..2026-10-31 --out report.json --strict": 1,
    # nobody's payloads are kept here, and no message is signed
    "mas audit erase 'customer 7' --reason 'request of 2026-11-20' --dry-run": 6,
    "mas audit erase 'customer 7' --reason 'request of 2026-11-20' --yes": 6,
    "mas audit check-signature MESSAGE-ID --file audit.jsonl --public-key HEX": 6,
}
"""What ends otherwise than with 0, and why."""

ANSWERS = {"mas check gateway agents audit --format nagios": {0, 1}}
"""Questions whose answer depends on how busy the machine is."""

NOTARY_SECONDS = 20
"""So long a question is asked again: what was written a moment ago is not signed yet."""
READING = [entry for entry in COMMANDS if entry.impact == "read"]

_BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`(mas [^`\n]+)`(?!`)")


class Line(NamedTuple):
    """A command line of a page."""

    page: str
    number: int
    text: str


def command_lines() -> Iterator[Line]:
    """What is to be run, page by page."""
    for path in PAGES:
        text = path.read_text()
        for block in _BLOCK.finditer(text):
            why, language, body = block.groups()
            if language in {"", "sh"} and not why:
                first = text.count("\n", 0, block.start(3)) + 1
                for number, line in enumerate(body.splitlines(), first):
                    if shlex.split(line, comments=True):
                        yield Line(path.name, number, line)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a project that runs, for these pages alone."""
    with running_system(tmp_path_factory.mktemp("pages") / "demo") as folder:
        yield folder


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_commands_of_the_pages_run(system, tmp_path, monkeypatch, capfd):
    """In the order of the pages, and each ends as it should."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(system)
    cold = tmp_path / "cold"
    write_archive(tmp_path, cold)
    with (system / "mas.yaml").open("a") as settings:
        settings.write(SETTINGS.replace("/mnt/cold", str(cold)))
    (system / "value.txt").write_text("4111 1111 1111 1111\n")
    problems = []
    lines = list(command_lines())

    for line in (*(Line("before", 0, text) for text in BEFORE), *lines):
        words = shlex.split(line.text.replace("/mnt/cold", str(cold)), comments=True)
        words = ["again/audit.pub" if word == "KEY" else word for word in words]
        assert words[0] == "mas", f"{line.page}:{line.number}: say why it is not run"
        wanted = ANSWERS.get(line.text, {EXIT_CODES.get(line.text, 0)})
        patience = time.monotonic() + NOTARY_SECONDS
        while True:
            capfd.readouterr()
            code = app.main(words[1:])
            told = "".join(capfd.readouterr())
            is_question = route(words[1:]).command in READING
            if code in wanted or not is_question or time.monotonic() > patience:
                break
            time.sleep(0.2)
        if code not in wanted:
            problems.append(f"{line.page}:{line.number}: {line.text}: ended with {code}: {told}")

    assert len(lines) > 25
    assert not problems, "\n".join(problems)


def test_documents_with_sessions_have_a_test_of_their_own():
    """Each `console` block belongs to a document that a test follows."""
    found = {
        path.name
        for path in (REPOSITORY / "README.md", *PAGES)
        if any(block[2] == "console" for block in _BLOCK.finditer(path.read_text()))
    }

    assert found == set(SESSIONS)
    for name in SESSIONS.values():
        assert (Path(__file__).parent / f"{name}.py").is_file()


@pytest.mark.parametrize("path", [REPOSITORY / "README.md", *PAGES], ids=lambda path: path.name)
def test_commands_in_running_text_exist(path):
    """With their flags; what stands in capitals may be anything."""
    shared = {"--help", *(name for spec in SHARED_FLAGS for name in spec.declarations)}
    wrong = []
    for span in _SPAN.findall(_BLOCK.sub("", path.read_text())):
        found = route([word for word in re.sub(r"[\[\]]|\.\.\.", " ", span).split()[1:] if word[0] != "'"])
        known = set(shared)
        if found.command is not None:
            parser = parser_for(found.command)
            context = parser.make_context("mas", [], resilient_parsing=True)
            known |= {
                name for item in parser.get_params(context) for name in (*item.opts, *item.secondary_opts)
            }
        wrong += [f"{span}: {flag}" for flag in re.findall(r"(?<=[\s\[])--[\w-]+", span) if flag not in known]

    assert wrong == []
