"""The examples do what their READMEs say, as processes and on real data."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.shell_documents import Shell, Step, shell_of, steps_of

from mas_cli.samples import PROTOCOLS

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "ARCHITECTURE.md")
PARTS = ("mas.yaml", "policy.yaml", "agents.d", "examples", *DOCUMENTS)

CARD = re.compile(r"4111 1111 1111 1111")


@pytest.fixture(name="shell")
def shell_in_a_copy(tmp_path, monkeypatch):
    """A shell in a copy of the project, where `wc` counts words in UTF-8."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    checkout = tmp_path / "mas"
    checkout.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy
        copy(REPOSITORY / part, checkout / part)
    with shell_of(checkout) as shell:
        yield shell


def run(shell: Shell, command: str) -> list[str]:
    """What a command prints that has to succeed."""
    code, lines = shell.run(command)
    assert code == 0, "\n".join([command, *lines])
    return lines


def words_by_section(text: str) -> dict[str, int]:
    """Words below each heading of a Markdown text, blocks of code aside when looking for headings."""
    without_code = re.sub(
        r"^```.*?^```", lambda block: "." * len(block[0]), text, flags=re.MULTILINE | re.DOTALL
    )
    starts = [found.start() for found in re.finditer(r"^#", without_code, flags=re.MULTILINE)]
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return {part.splitlines()[0].strip("# "): len(re.findall(r"\S+", part)) for part in parts}


def test_word_count_agrees_with_an_independent_count_and_leaves_a_complete_audit(shell):
    """The agents count every section of the documentation; the one with a card number is refused and recorded."""
    commands = steps_of((REPOSITORY / "examples/word_count/README.md").read_text())
    texts = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    wanted = {
        (name, heading): words
        for name in DOCUMENTS
        for heading, words in words_by_section(texts[name]).items()
    }

    for step in commands:
        assert isinstance(step, Step)
        if "count_words.py" in step.command:
            break
        if "activate" not in step.command:
            run(shell, step.command)
    script = f"python examples/word_count/count_words.py {' '.join(DOCUMENTS)} --json"
    sections = [json.loads(line) for line in run(shell, script)]
    records = list(
        csv.DictReader(io.StringIO("\n".join(run(shell, "mas audit list --oldest-first --output csv"))))
    )
    verified = json.loads("\n".join(run(shell, "mas audit verify --output json 2> /dev/null")))

    counted = {(item["file"], item["heading"]): item["words"] for item in sections if not item["refused"]}
    refused = {(item["file"], item["heading"]) for item in sections if item["refused"]}
    assert len(wanted) == len(sections)
    assert refused == {("README.md", "From a second terminal")}
    assert counted == {key: words for key, words in wanted.items() if key not in refused}
    for item in sections:
        source = set(re.findall(r"\w+", texts[item["file"]]))
        assert item["refused"] or set(re.findall(r"\w+", item["summary"])) <= source | {"empty"}
    decisions = [(row["sender"], row["target"], row["type"], row["decision"]) for row in records]
    assert decisions.count(("reader", "word-counter", "text.count", "allowed")) == len(counted)
    assert decisions.count(("reader", "word-counter", "text.count", "blocked")) == len(refused)
    assert decisions.count(("cleaner", "summarizer", "text.summarize", "allowed")) == len(counted)
    assert [(found["place"], found["ok"]) for found in verified] == [("store", True), ("folder", True)]
    kept = (path for path in (Path(run(shell, "pwd")[0]) / ".mas").rglob("*") if path.is_file())
    assert not [path for path in kept if CARD.search(path.read_bytes().decode(errors="replace"))]


@pytest.fixture(scope="module")
def runs():
    """Every sample that needs no server, started at once: its folder -> the process."""
    started = {
        script.parent.name: subprocess.Popen(
            [sys.executable, script.relative_to(REPOSITORY)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for script in (REPOSITORY / "examples" / path for path in PROTOCOLS.values())
    }
    yield started
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.mark.parametrize("path", PROTOCOLS.values())
def test_a_sample_prints_what_its_readme_says(runs, path):
    """It hands on, gathers, decides, takes over and does what crashed again; and needs no server."""
    folder = path.partition("/")[0]
    readme = (REPOSITORY / "examples" / folder / "README.md").read_text()
    said = readme.partition(f"```console\n$ python examples/{path}\n")[2].partition("```")[0]

    out, errors = runs[folder].communicate(timeout=60)

    assert (runs[folder].returncode, out) == (0, said), errors
