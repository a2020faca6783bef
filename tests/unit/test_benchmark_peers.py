"""The peers of the benchmarks: they get the same work, and one that is missing says why."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.peers import installing
from benchmarks.peers.runs import PEERS
from benchmarks.peers.work import Job, Tally
from mas_core.ops.bench.load import payload


def test_peers_carry_as_much_as_we_do():
    """The same number of bytes of JSON, another number in each."""
    messages = list(Job("", "q", 20).messages())

    assert [message["number"] for message in messages] == list(range(20))
    assert {len(json.dumps(message)) for message in messages} == {300}
    assert len(json.dumps(payload(300), separators=(",", ":"))) in range(290, 301)


def test_a_worker_reports_once_when_all_came(capsys):
    """What comes twice does not count for what is missing."""
    messages = list(Job("", "q", 3).messages())
    tally = Tally(Job("", "q", 3))

    for message in (messages[0], messages[1], messages[1]):
        tally.note(message)
    assert capsys.readouterr().out == ""
    tally.note(messages[2])
    tally.note(messages[0])

    (line,) = capsys.readouterr().out.splitlines()
    assert len(json.loads(line.removeprefix("result "))["times_ns"]) == 3


async def test_what_cannot_be_installed_says_why(tmp_path, monkeypatch):
    """The last error of what was tried."""
    (tmp_path / "none.txt").write_text("")
    monkeypatch.setattr(installing, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(installing, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(installing, "sys", type("FakeSys", (), {"executable": str(tmp_path / "python")}))

    with pytest.raises(installing.NotInstalled, match="No such file"):
        await installing.python_of("none")
    with pytest.raises(installing.NotInstalled, match="failed: Error: out of reach"):
        await installing._run(sys.executable, "-c", "raise SystemExit('Error: out of reach')")


def test_every_peer_has_its_requirements_and_its_module():
    """A peer without them would never be measured."""
    assert {peer.package for peer in PEERS} == set(installing.PACKAGES)
    for peer in PEERS:
        assert (installing.REQUIREMENTS.parent / f"{peer.module}.py").exists()
