"""`mas server run` and `status`: what agents reach instead of the store, typed by an operator."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from support.running_system import running_system

from mas_cli import app
from mas_core.security.authority_files import CertificateFolder
from mas_core.security.certificate_files import write_pair
from mas_core.security.certificates import Holder, key_pem, new_key, pem_of


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The folder of a running project of this module alone, since its certificates are changed."""
    with running_system(tmp_path_factory.mktemp("served") / "demo") as folder:
        yield folder


@pytest.fixture
def call(project, monkeypatch, capsys):
    """Runs a command in the project; its exit code, standard output as JSON, standard error."""
    monkeypatch.chdir(project)

    def run(*words):
        capsys.readouterr()
        code = app.main([*words, "-o", "json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return run


@pytest.fixture
def server(project, call):
    """A server in a process of its own, ready, and what it told first."""
    ensure_authority(call)
    with subprocess.Popen(
        [sys.executable, "-m", "mas_cli", "server", "run", "--listen", "127.0.0.1:0", "-o", "jsonl"],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAS_")},
        text=True,
    ) as process:
        process.first = json.loads(process.stdout.readline())
        yield process
        process.kill()


def ensure_authority(call):
    """Make the authority and the server's certificate unless an earlier test has."""
    if call("cert", "ca")[0] == 0:
        assert call("cert", "issue", "localhost", "--for", "server", "--also", "127.0.0.1")[0] == 0


def test_a_server_needs_an_authority_and_a_certificate_first(call):
    """Each error names what is missing and what to type; nothing runs, and nobody needs it to."""
    none, servers, said = call("server", "status")
    without_authority = call("server", "run", "--check")
    assert call("cert", "ca")[0] == 0
    without_certificate = call("server", "run", "--check")
    assert call("cert", "issue", "localhost", "--for", "server", "--also", "127.0.0.1")[0] == 0
    could = call("server", "run", "--check", "--listen", "127.0.0.1:0")

    assert (none, servers) == (0, [])
    assert "mas server run" in said
    assert (without_authority[0], without_certificate[0], could[0]) == (2, 2, 0)
    assert "mas cert ca" in without_authority[2]
    assert "mas cert issue localhost --for server" in without_certificate[2]


def test_a_server_tells_who_it_is_and_ends_in_order(call, server, monkeypatch):
    """status shows address, certificate and refusals; Ctrl-C drains it, exit code 0, and it is gone from status."""
    assert server.first["event"] == "ready"
    code, (row,), _ = call("server", "status")
    host, _, port = row["address"].rpartition(":")
    with closing(socket.create_connection((host, int(port)))) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stranger.settimeout(5)
        assert b"200" not in stranger.recv(100)
    taken = call("server", "run", "--check", "--listen", row["address"])
    taken_again = call("server", "run", "--listen", row["address"])
    named = call("server", "run", "--check", "--listen", "127.0.0.1:0", "--id", row["id"])
    for _ in range(100):
        if (seen := call("server", "status")[1][0])["refused"]:
            break
        time.sleep(0.05)
    overall = call("status")[1]
    health = call("health")[1]

    server.send_signal(signal.SIGINT)
    told = [json.loads(line)["event"] for line in server.stdout]
    words = server.stderr.read()

    assert code == 0
    assert (row["state"], row["agents"], row["pid"]) == ("serving", 0, server.pid)
    assert datetime.fromisoformat(row["certificate_ends"]) > datetime.now(UTC)
    assert seen["refused"] >= 1
    assert [item["id"] for item in overall["servers"]] == [row["id"]]
    assert f"server {row['id']}" in [item["name"] for item in health]
    assert (taken[0], named[0]) == (2, 7)
    assert "Address already in use" in taken[2]
    assert taken_again[0] == 2
    assert f"nothing can listen at {row['address']}: Address already in use" in taken_again[2]
    assert "GRPC_VERBOSITY" not in taken_again[2] + words
    assert told == ["stopping", "stopped"]
    assert server.wait(10) == 0
    assert "handshake.refused" in words
    assert "Ctrl-C again" in words
    assert call("server", "status")[:2] == (0, [])
    monkeypatch.setenv("MAS_TRANSPORT", "server")
    assert call("server", "status")[:2] == (1, [])


@pytest.mark.parametrize("only_check", [(), ("--check",)])
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:80000", "'80000' is no port"),
        ("127.0.0.1:http", "'http' is no port"),
        ("foo", "the port is missing; write HOST:PORT"),
        ("foo:", "the port is missing"),
    ],
)
def test_an_address_that_is_none_is_refused(call, address, said, only_check):
    """gRPC would listen at the port modulo 65536; exit code 2 says what is wrong instead."""
    ensure_authority(call)
    code, _, words = call("server", "run", "--listen", address, *only_check)
    assert code == 2
    assert f"nothing can listen at {address}: " in words
    assert said in words


def test_a_certificate_that_no_agent_would_take_is_refused_before_it_listens(call, project):
    """One that has ended, and one with the key of another; a folder that others can read is told as such."""
    ensure_authority(call)
    folder = CertificateFolder(project / ".mas" / "certs")
    authority, path = folder.required_authority(), project / ".mas" / "certs" / "server.pem"
    kept, now = path.read_bytes(), datetime.now(UTC)
    key, other = new_key(), new_key()

    def issued(age):
        holder = Holder("server", "localhost", ("127.0.0.1",))
        made = authority.issue(holder, key.public_key(), now=now - age, lifetime=timedelta(minutes=1))
        return pem_of([made])

    try:
        write_pair(issued(timedelta(minutes=2)), key_pem(key), path)
        ended = call("server", "run", "--check", "--listen", "127.0.0.1:0")
        write_pair(issued(timedelta()), key_pem(other), path)
        mixed = call("server", "run", "--check", "--listen", "127.0.0.1:0")
        write_pair(issued(timedelta()), key_pem(key), path)
        path.chmod(0o644)
        open_key = call("server", "run", "--check", "--listen", "127.0.0.1:0")
    finally:
        path.chmod(0o600)
        path.write_bytes(kept)

    assert (ended[0], mixed[0], open_key[0]) == (2, 2, 2)
    assert "ended at" in ended[2]
    assert "mas cert rotate localhost --for server" in ended[2]
    assert "is not that of the certificate" in mixed[2]
    assert "chmod" in open_key[2]
