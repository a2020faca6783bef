"""`mas record` and the replay of what it wrote."""

import json
import signal
import time

import pytest

from mas_core.ops import recordings

HEADER = {"recording": "mas", "format": 1, "version": "0", "context": "demo", "time": "2026-11-21T10:00:00Z"}
EVENT = {
    "time": "2026-11-21T10:00:01.500Z", "from": "a", "to": "b", "type": "t", "bytes": 3, "ms": 2,
    "decision": "allowed", "reason": "", "rule": "r1", "id": "m1",
}  # fmt: skip


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def recording(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in (HEADER, *lines)))
    return path


@pytest.mark.slow
def test_what_is_recorded_can_be_watched_again(mas, mas_process, running_project, tmp_path, monkeypatch):
    """A private file with header, events and the state of the whole; the replay has filters and an end."""
    monkeypatch.chdir(running_project)
    path = tmp_path / "incident.jsonl"
    process = mas_process("record", "--out", str(path), "-o", "json")
    wait_until(lambda: path.exists() and '"gateways"' in path.read_text())
    assert mas("send", "calculator", "record.me", '{"n": 1}').code == 0
    wait_until(lambda: "record.me" in path.read_text())
    process.send_signal(signal.SIGINT)

    told = json.loads(process.communicate(timeout=30)[0])
    assert (told["count"] >= 1, told["gaps"]) == (True, 0)
    assert process.returncode == 130
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["recording"] == "mas"
    again = mas("watch", "--replay", str(path), "--type", "record.*", "-o", "jsonl")
    assert again.code == 0
    rows = [json.loads(line) for line in again.out.splitlines()]
    assert [row["type"] for row in rows] == ["record.me"]
    assert rows[0] in lines
    assert mas("record", "--out", str(path), "--for", "1s").code == 7


def test_a_replay_needs_no_system(mas, tmp_path):
    """Nor a project; at once, or with the pauses that there were."""
    path = recording(tmp_path / "r", EVENT, {**EVENT, "time": "2026-11-21T10:00:01.600Z", "id": "m2"})

    for more in ((), ("--speed", "x10")):
        found = mas("watch", "--url", "redis://127.0.0.1:1", "--replay", str(path), *more, "-o", "name")
        assert found.code == 0, found.err
        assert len(found.out.splitlines()) == 2
    assert mas("watch", "--speed", "x2").code == 2
    assert mas("watch", "--replay", str(path), "--speed", "fast").code == 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1]", "Expected"),
        ('{"time": "yesterday"}', "isoformat"),
        ('{"time": "2026-11-21T10:00:01"}', "zone"),
        ('{"time": "0001-01-01T00:00:00Z"}', "1970"),
        ('{"time": "2026-11-21T10:00:01Z", "bytes": -1}', ">= 0"),
        ('{"time": "2026-11-21T10:00:01Z", "status": {}}', "required field"),
        ('{"time": "2026-11-21T10:00:01Z", "x": ' + "[" * 100_000, "recursion"),
        ("x" * (recordings.MAX_LINE + 1), "longer"),
    ],
    ids=range(8),
)
def test_s28_a_hostile_recording_is_refused_with_its_line(mas, tmp_path, line, problem):
    """Nobody who replays a file from elsewhere sees a traceback."""
    path = recording(tmp_path / "r", EVENT)
    with path.open("a") as file:
        file.write(line + "\n")

    found = mas("watch", "--replay", str(path), "-o", "jsonl")

    assert found.code == 2
    error = json.loads(found.err.splitlines()[-1])["error"]
    assert error["code"] == "recording_invalid"
    assert f"{path}:3: " in error["message"]
    assert problem.lower() in error["message"].lower()


def test_what_is_no_recording_is_refused(mas, tmp_path):
    """Another file, another format, none at all; a line that was cut off ends a recording."""
    path = tmp_path / "r"
    path.write_bytes(b"\x00\xff\n")
    assert mas("watch", "--replay", str(path)).code == 2
    path.write_text(json.dumps({**HEADER, "format": 2}) + "\n")
    assert mas("watch", "--replay", str(path)).code == 2
    assert mas("watch", "--replay", str(tmp_path / "none")).code == 2

    recording(path, EVENT)
    path.write_text(path.read_text() + '{"time": "2026-')
    assert len(mas("watch", "--replay", str(path), "-o", "name").out.splitlines()) == 1
