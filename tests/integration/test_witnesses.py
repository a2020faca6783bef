"""Second places for checkpoints, on a real notary: whatever they do, the first place goes on."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from support.notaries import (
    check_evidence,
    checkpoints_of,
    evidence_of,
    notary_of,
    signed_to,
    status_of,
    until,
)
from support.systems import live_system

from mas_core.audit.note import notes_in
from mas_core.settings.gateway_settings import WitnessSettings


@pytest.fixture
async def live(server_url):
    """A system with two agents that talk."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        await system.run("bob")
        yield system


async def _talk(live, count=3):
    client = await live.client("alice")
    for number in range(count):
        await client.send("bob", "note.add", {"n": number})
    last, _ = await live.store.records.audit_head(0)
    await until(lambda: signed_to(live, last))
    return last


async def _witness(live, condition):
    """The state of the first witness, once it is so."""

    async def found():
        status = await status_of(live)
        return next((item for item in status.witnesses if condition(item)), None) if status else None

    return await until(found)


def _sizes(path):
    return [int(note.split(b"\n")[1]) for note in notes_in(path.read_bytes())] if path.exists() else []


async def test_a_folder_gets_every_checkpoint(live, tmp_path):
    """The same notes as the evidence has, in the same form."""
    async with notary_of(live, witnesses=[{"folder": str(tmp_path / "second")}]):
        for _ in range(3):
            await _talk(live)
        assert (await _witness(live, lambda item: item.delivered >= 3)).problem == ""

    path = tmp_path / "second" / "p0" / "checkpoints"
    assert path.read_bytes() == (evidence_of(live) / "p0" / "checkpoints").read_bytes()


async def test_a_program_gets_the_note_and_no_secret(live, tmp_path, monkeypatch):
    """On standard input; settings of ours are not in its environment."""
    monkeypatch.setenv("MAS_SECRET", "x")
    out = tmp_path / "out"
    script = (
        f"import os, sys\nopen({str(out)!r}, 'a').write(sys.stdin.read() + str('MAS_SECRET' in os.environ))"
    )
    async with notary_of(live, witnesses=[{"command": [sys.executable, "-c", script]}]):
        last = await _talk(live)
        await _witness(live, lambda item: item.delivered)

    assert f"\n{last}\n" in out.read_text()
    assert out.read_text().endswith("False")


@pytest.mark.parametrize(
    "witness",
    [
        {"command": ["/nowhere/at/all"]},
        {"command": ["false"]},
        {"command": ["sleep", "1000"], "timeout_s": 0.3},
        {"folder": "/dev/null/nowhere"},
        {"url": "http://127.0.0.1:1/"},
    ],
    ids=["missing", "failing", "hanging", "folder", "url"],
)
async def test_a_witness_that_fails_stops_nothing(live, witness):
    """Its failures are counted and are an alarm; everything is signed as without it."""
    async with notary_of(live, witnesses=[witness]):
        await _talk(live)
        state = await _witness(live, lambda item: item.failures and item.problem)
        last = await _talk(live)
        assert state.name in (await status_of(live)).alarms[0]
        started = time.monotonic()

    assert time.monotonic() - started < 60
    assert checkpoints_of(live)[-1].size == last
    assert len(check_evidence(live)) == last


async def test_a_witness_that_was_away_gets_the_newest(live, tmp_path):
    """Not all that it missed, but one that covers it."""
    blocked = tmp_path / "second"
    blocked.write_bytes(b"in the way")
    async with notary_of(live, witnesses=[{"folder": str(blocked)}]):
        for _ in range(3):
            last = await _talk(live, 1)
        await _witness(live, lambda item: item.problem)
        blocked.unlink()
        await until(lambda: _sizes(blocked / "p0" / "checkpoints")[-1:] == [last])
        assert (await _witness(live, lambda item: item.delivered)).problem == ""

    assert len(_sizes(blocked / "p0" / "checkpoints")) < len(checkpoints_of(live))


@contextmanager
def _server(answer):
    """A web server that answers with what `answer` gives for a body; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code, data = answer(self.headers, body)
            self.send_response(code)
            if code in (301, 302, 307):
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_an_address_is_posted_to(live):
    """As text/plain; the exact note."""
    taken = []

    def answer(headers, body):
        taken.append((headers["Content-Type"], body))
        return 204, b""

    with _server(answer) as url:
        async with notary_of(live, witnesses=[{"url": url}]):
            await _talk(live)
            await _witness(live, lambda item: item.delivered)

    notes = set(notes_in((evidence_of(live) / "p0" / "checkpoints").read_bytes()))
    assert taken
    assert {body for _, body in taken} <= notes
    assert {kind for kind, _ in taken} == {"text/plain; charset=utf-8"}


@pytest.mark.parametrize("code", [302, 400, 500])
async def test_an_address_that_refuses_is_told(live, code):
    """Redirections are not followed."""
    asked = []

    def answer(headers, body):
        asked.append(body)
        return code, b""

    with _server(answer) as url:
        async with notary_of(live, witnesses=[{"url": url}]):
            await _talk(live)
            state = await _witness(live, lambda item: item.failures)

    assert str(code) in state.problem


@pytest.fixture
def authority(tmp_path):
    """Answers time stamp queries with openssl; the path of its certificate."""
    folder = tmp_path / "tsa"
    folder.mkdir()
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa = c\n[c]\nserial = ./serial\nsigner_cert = ./cert.pem\nsigner_key = ./key.pem\n"
        "certs = ./cert.pem\nsigner_digest = sha256\ndefault_policy = 1.2.3.4.1\ndigests = sha256\n"
        "ess_cert_id_alg = sha256\n"
    )
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out",
             "cert.pem", "-days", "10", "-subj", "/CN=tsa", "-addext",
             "extendedKeyUsage=critical,timeStamping"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs openssl for an authority")
    return folder


def _stamped(folder, body):
    (folder / "query.tsq").write_bytes(body)
    subprocess.run(
        ["openssl", "ts", "-reply", "-queryfile", "query.tsq", "-config", "tsa.cnf", "-section", "c",
         "-out", "reply.tsr"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return (folder / "reply.tsr").read_bytes()


async def test_checkpoints_are_stamped(live, authority):
    """Now and then, over the exact note; openssl verifies the stamp."""
    with _server(lambda _headers, body: (200, _stamped(authority, body))) as url:
        async with notary_of(live, timestamp_url=url, timestamp_every_s=3600):
            await _talk(live)
            await _witness(live, lambda item: item.delivered)
            await _talk(live)

    (stamp,) = (evidence_of(live) / "p0" / "timestamps").glob("*.tsr")
    note = stamp.with_suffix(".note")
    assert note.read_bytes() in list(notes_in((evidence_of(live) / "p0" / "checkpoints").read_bytes()))
    verified = subprocess.run(
        ["openssl", "ts", "-verify", "-in", stamp, "-data", note, "-CAfile", authority / "cert.pem"],
        capture_output=True,
    )
    assert verified.returncode == 0, verified.stderr


@pytest.mark.parametrize("answer", ["garbage", "other"])
async def test_a_stamp_of_something_else_is_not_kept(live, authority, answer):
    """An answer that is none, and a stamp for an older query."""
    first = []

    def reply(_headers, body):
        if answer == "garbage":
            return 200, b"no stamp"
        first.append(body)
        if len(first) == 1:
            _stamped(authority, _other_query(authority))
        return 200, (authority / "reply.tsr").read_bytes()

    with _server(reply) as url:
        async with notary_of(live, timestamp_url=url, timestamp_every_s=1):
            await _talk(live)
            state = await _witness(live, lambda item: item.failures)

    assert ("no time stamp" if answer == "garbage" else "something else") in state.problem
    assert not list((evidence_of(live) / "p0").glob("timestamps/*"))


def _other_query(folder):
    (folder / "other").write_bytes(b"other")
    subprocess.run(
        ["openssl", "ts", "-query", "-data", "other", "-sha256", "-cert", "-out", "other.tsq"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return (folder / "other.tsq").read_bytes()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"folder": "a", "url": "https://a.example"},
        {"url": "http://a.example/"},
        {"url": "ftp://a"},
        {"command": []},
    ],
)
def test_settings_of_a_witness_name_one_place(given):
    """And in the clear only on this machine."""
    with pytest.raises(ValueError):
        WitnessSettings.model_validate(given)
