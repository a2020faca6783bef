"""`mas audit` and `mas watch` on a running system."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from support.running_system import running_system

from mas_core.store.keys import Keys


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def told(mas):
    """A type of its own with three messages that went and one that was refused."""
    told.number = getattr(told, "number", 0) + 1
    name = f"told{told.number}.one"
    assert mas("send", "calculator", name, "--count", "3", "-q").code == 0
    assert mas("send", "calculator", name, "--as", "outsider", "-q").code == 5
    return name


def records(mas, *words: str) -> list[dict[str, object]]:
    return mas("audit", "list", *words, "-o", "json").json


def test_every_decision_is_listed_newest_first(mas, told):
    """With reason, rule and who it was; oldest first on demand."""
    found = records(mas, "--type", told)

    assert [row["decision"] for row in found] == ["denied", "allowed", "allowed", "allowed"]
    assert (found[0]["sender"], found[0]["target"]) == ("outsider", "calculator")
    assert "no rule allows it" in found[0]["reason"]
    assert found == records(mas, "--type", told, "--oldest-first")[::-1]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--decision", "denied"), 1),
        (("--from", "outsider"), 1),
        (("--sender", "operator"), 3),
        (("--to", "calculator"), 4),
        (("--target", "notebook"), 0),
        (("--kind", "message"), 4),
        (("--kind", "frame"), 0),
        (("--rule", "r1"), 3),
        (("--since", "1h"), 4),
        (("--until", "1h"), 0),
        (("--limit", "2"), 2),
    ],
)
def test_filters_choose(mas, told, words, count):
    """One by one; together they all have to hold."""
    assert count == len(records(mas, "--type", told, *words))


def test_types_are_globs(mas, told):
    """As in rules."""
    assert len(records(mas, "--type", told.replace(".one", ".*"))) == 4


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--decision", "refused-ish"),
        ("list", "--limit", "0"),
        ("list", "--since", "soon"),
        ("list", "--since", "1h", "--until", "2h"),
        ("list", "--type", "a b"),
        ("tail", "--count", "1"),
        ("tail", "--follow", "--count", "0"),
        ("tail", "--follow", "--for", "soon"),
        ("export", "--format", "xml"),
        ("export", "--out", "."),
        ("export", "--out", "missing/file"),
    ],
)
def test_flags_that_make_no_sense_are_refused(mas, words):
    """As usage errors."""
    ran = mas("audit", *words)

    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


def test_a_list_of_a_chosen_length_is_not_called_cut(mas, told):
    """Who says how many knows it."""
    ran = mas("audit", "list", "--type", told, "--limit", "1", "-v")

    assert len(ran.out.splitlines()) == 2
    assert ran.err == "1 record\n"


def test_the_kind_is_shown_where_not_all_records_are_messages(mas, told):
    """A table of messages goes without the column, and CSV always has it."""
    messages = mas("audit", "list", "--type", told).out
    attached = mas("audit", "list", "--kind", "agent.attach").out

    assert "KIND" not in messages.splitlines()[0]
    assert "KIND" in attached.splitlines()[0]
    assert "agent.attach" in attached.splitlines()[1]
    assert "kind" in mas("audit", "list", "--type", told, "-o", "csv").out.splitlines()[0]


def test_a_pipe_gets_every_record(mas):
    """No limit where nobody looks at it."""
    mas("send", "calculator", "many.one", "--count", "150", "-q")

    assert len(mas("audit", "list", "--type", "many.one", "--no-headers").out.splitlines()) == 150


def test_the_newest_records_come_last_in_a_tail(mas, told):
    """As many as asked for."""
    rows = [
        json.loads(line)
        for line in mas("audit", "tail", "--last", "3", "--kind", "message", "-o", "jsonl").out.splitlines()
    ]

    assert [row["seq"] for row in rows] == sorted(row["seq"] for row in rows)
    assert rows[-1]["decision"] == "denied"


def test_a_tail_goes_on_with_new_records(mas, mas_process, told):
    """After those that are there; it ends after the count of new ones."""
    process = mas_process(
        "audit", "tail", "--follow", "--last", "1", "--count", "2", "--type", told, "-o", "jsonl"
    )
    first = json.loads(process.stdout.readline())

    mas("send", "calculator", told, "--count", "2")
    out, err = process.communicate(timeout=20)

    assert first["decision"] == "denied"
    assert [json.loads(line)["decision"] for line in out.splitlines()] == ["allowed", "allowed"]
    assert (process.returncode, err) == (0, "")


def test_one_message_is_shown_whole(mas):
    """By its id; every record about it, and single records by their number."""
    name = mas("send", "calculator", "shown.one", "-o", "name").out.strip()

    (found,) = mas("audit", "get", name, "-o", "json").json
    table = mas("audit", "get", name).out

    assert found["message_id"] == name
    assert mas("audit", "get", str(found["seq"]), "-o", "json").json == [found]
    assert mas("audit", "get", f"0:{found['seq']}", "-o", "json").json == [found]
    assert f"message id    {name}\n" in table
    assert mas("audit", "get", "no-such-message", "-o", "json").code == 6
    assert mas("audit", "get", "99999999", "-o", "json").code == 6


def test_an_untouched_chain_verifies(mas, told):
    """With the number of records and the head."""
    ran = mas("audit", "verify", "-o", "json")

    assert ran.code == 0
    found = ran.json[0]
    assert all(each["ok"] for each in ran.json)
    assert found["verified_to"] == found["records"] > 3
    assert len(found["head"]) == 64
    assert mas("audit", "verify").out.splitlines()[1].split()[:3] == ["0", "store", "yes"]


@pytest.mark.parametrize("format_", ["csv", "json", "jsonl"])
def test_an_export_is_private_whole_and_told(mas, told, tmp_path, format_):
    """Mode 0600; rows, SHA-256 and head on standard error."""
    path = tmp_path / f"audit.{format_}"

    ran = mas("audit", "export", "--format", format_, "--out", str(path))

    content = path.read_bytes()
    rows = {
        "csv": lambda: list(csv.DictReader(io.StringIO(content.decode(), newline=""))),
        "json": lambda: json.loads(content),
        "jsonl": lambda: [json.loads(line) for line in content.splitlines()],
    }[format_]()
    assert (ran.code, ran.out) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert f"rows     {len(rows)}\n" in ran.err
    assert f"sha-256  {hashlib.sha256(content).hexdigest()}\n" in ran.err
    assert re.search(r"^head     [0-9a-f]{64} \(partition 0\)$", ran.err, re.MULTILINE)
    assert list(tmp_path.glob(".audit*")) == []


def test_an_export_can_go_to_a_pipe(mas, told):
    """The default; the summary stays on standard error."""
    ran = mas("audit", "export", "--since", "1h")

    assert ran.code == 0
    assert {json.loads(line)["kind"] if "kind" in line else "message" for line in ran.out.splitlines()}
    assert mas("audit", "export", "--until", "1h").out == ""


def test_output_stands_for_the_format_of_an_export(mas, told):
    """--format wins, and what no export can be is refused."""
    as_csv = mas("audit", "export", "-o", "csv")
    as_json = mas("audit", "export", "-o", "json")
    as_lines = mas("audit", "export", "-o", "json", "--format", "jsonl")

    assert "seq" in next(csv.reader(as_csv.out.splitlines()))
    # Each of these questions is itself a record for the next.
    assert len(as_lines.out.splitlines()) >= len(as_json.json) > 3
    refused = mas("audit", "export", "-o", "yaml")
    assert (refused.code, refused.out) == (2, "")
    assert "--format csv|json|jsonl" in refused.err


def test_an_export_replaces_no_file_unasked(mas, told, tmp_path):
    """Another export may be the only proof of its time."""
    path = tmp_path / "audit.jsonl"
    path.write_text("before")

    refused = mas("audit", "export", "--out", str(path))

    assert (refused.code, path.read_text()) == (7, "before")
    assert "--yes" in refused.err
    assert mas("audit", "export", "--out", str(path), "--yes").code == 0
    assert json.loads(path.read_text().splitlines()[0])["seq"] == 1


def test_a_program_gets_the_summary_as_json(mas, told, tmp_path):
    """When the export itself goes to a file."""
    path = tmp_path / "audit.jsonl"

    found = mas("audit", "export", "--format", "jsonl", "--out", str(path), "-o", "json").json

    assert found["rows"] == len(path.read_bytes().splitlines())
    assert found["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def watching(mas_process, *words: str) -> subprocess.Popen[str]:
    process = mas_process("watch", "-v", *words)
    assert "watching demo" in process.stderr.readline()
    return process


def test_watch_shows_decisions_as_they_are_made(mas, mas_process):
    """One JSON object a line, until the count."""
    process = watching(mas_process, "--type", "seen.*", "--count", "2", "-o", "jsonl")

    mas("send", "calculator", "seen.one", "-J", "n:=1")
    mas("send", "calculator", "unseen.one")
    mas("send", "calculator", "seen.two", "--as", "outsider")
    out, _ = process.communicate(timeout=20)

    first, second = (json.loads(line) for line in out.splitlines())
    assert process.returncode == 0
    assert (first["from"], first["to"], first["type"], first["decision"]) == (
        "operator",
        "calculator",
        "seen.one",
        "allowed",
    )
    assert first["bytes"] == len('{"n":1}')
    assert (second["type"], second["decision"]) == ("seen.two", "denied")


def test_watch_can_show_refusals_of_one_agent_only(mas, mas_process):
    """Filters hold together."""
    process = watching(mas_process, "--refused", "--agent", "outsider", "--count", "1", "-o", "jsonl")

    mas("send", "calculator", "seen.three")
    mas("send", "calculator", "seen.four", "--as", "outsider")
    out, _ = process.communicate(timeout=20)

    assert [json.loads(line)["type"] for line in out.splitlines()] == ["seen.four"]


def test_watch_ends_after_its_time(mas):
    """With nothing seen, and no error."""
    assert mas("watch", "--type", "never.*", "--for", "100ms") == (0, "", "")


def test_watch_ends_quietly_when_its_reader_goes(mas_process):
    """Also when nothing happens that could be written."""
    process = watching(mas_process, "--type", "never.*")

    process.stdout.close()

    assert process.wait(10) == 141
    assert process.stderr.read() == ""


def test_watch_into_head_ends(mas):
    """The classic: one line and done."""
    command = f"{sys.executable} -m mas_cli watch --no-headers | head -1"
    with subprocess.Popen(
        ["bash", "-c", f"set -o pipefail; {command}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as pipeline:
        while pipeline.poll() is None:
            mas("send", "calculator", "headed.one")
        out, err = pipeline.communicate(timeout=20)

    assert len(out.splitlines()) == 1
    assert (pipeline.returncode, err) == (141, "")


def test_ctrl_c_ends_watching(mas_process):
    """At once, with how much was seen."""
    process = watching(mas_process)

    process.send_signal(2)

    assert process.wait(10) == 130
    assert process.stderr.read() == "0 seen\n"


@pytest.fixture
def tampered(mas, running_project, tmp_path, monkeypatch):
    """A project whose audit is a copy of the running one in which one byte of record 3 was changed."""
    mas("send", "calculator", "copied.one")
    url = json.loads((running_project / ".mas" / "run" / "context.json").read_text())["url"]
    source, copy = Keys("mas", 1), Keys("tampered", 1)
    with redis.Redis.from_url(url) as server:
        server.delete(copy.audit(0), copy.meta(0))
        server.hset(copy.meta(0), mapping=server.hgetall(source.meta(0)))
        for entry, fields in server.xrange(source.audit(0)):
            text = fields[b"r"]
            position = text.find(b'"seq":3,')
            if position >= 0:
                place = text.index(b'"decision":"', position) + 12
                text = text[:place] + b"X" + text[place + 1 :]
            server.xadd(copy.audit(0), {b"r": text}, id=entry)
    (tmp_path / "mas.yaml").write_text("name: tampered\nnamespace: tampered\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAS_URL", url)


def test_a_changed_byte_is_found_and_its_record_named(mas, tampered):
    """Exit 1, in words and in JSON."""
    ran = mas("audit", "verify", "-o", "json")

    assert ran.code == 1
    found = ran.json[0]
    assert (found["place"], found["ok"], found["kind"], found["first_bad"]) == ("store", False, "edited", 3)
    assert "the store of partition 0 does not hold: record 3 was changed" in ran.err
    assert "record 3 was changed" in mas("audit", "verify").out


def test_an_export_of_a_broken_chain_is_complete_and_says_so(mas, tampered, tmp_path):
    """What is there is evidence too."""
    ran = mas("audit", "export", "--out", str(tmp_path / "all.jsonl"))

    assert ran.code == 1
    assert "record 3 was changed" in ran.err
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[2]["decision"].startswith("X")


def test_watching_survives_a_server_that_restarts(mas_process, tmp_path, monkeypatch):
    """It says that the connection is lost, once, and goes on with what comes then."""
    with running_system(tmp_path / "restarted") as folder:
        monkeypatch.chdir(folder)
        process = mas_process("watch", "-v", "--count", "1", "-o", "jsonl")
        assert "watching restarted" in process.stderr.readline()
        pid = int((folder / ".mas" / "run" / "server.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        assert "connection lost" in process.stderr.readline()
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            subprocess.run(
                [sys.executable, "-m", "mas_cli", "send", "calculator", "again.one", "--timeout", "2"],
                capture_output=True,
                check=False,
            )
        assert process.wait(10) == 0
        assert json.loads(process.stdout.readline())["type"] == "again.one"
        assert "connected again" in process.stderr.read()
