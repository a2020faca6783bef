"""`mas up --secure`: the sample project in server mode by one command, and files of somebody else's authority."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from support.serving import Certificates

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/environ").exists(), reason="looks at processes as Linux shows them"
    ),
]

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 90

FOREIGN = """\
name: ping-pong
server_listen_addr: 127.0.0.1:{port}
tls_ca_path: certs/ca.pem
tls_server_cert_path: certs/server-localhost.pem
tls_server_key_path: certs/server-localhost.pem
permissions:
  - {{allow: operator -> ping, types: ["ping.*"]}}
agents:
  - agent_id: ping
    class_path: ping:Ping
    instances: 1
    capabilities: [ping]
    metadata: {{team: blue}}
    tls_cert_path: certs/agent-ping.pem
    tls_key_path: certs/agent-ping.pem
"""
PING = """\
from mas_core import Agent


class Ping(Agent):
    def __init__(self, agent_id, **kwargs):
        super().__init__(agent_id, **kwargs)

    @Agent.on("ping.now")
    async def now(self, message):
        return {"url": self._url, "certificate": str(self._tls.cert_path)}
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Shell:
    """Runs `mas` in one folder, as a user without settings."""

    def __init__(self, folder, home):
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "REDIS_"))}
        self.environ = {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}

    def mas(self, *words, **variables):
        process = subprocess.run(
            [sys.executable, "-m", "mas_cli", *words],
            cwd=self.folder,
            env={**self.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return Ended(process.returncode, process.stdout, process.stderr)

    def request(self, agent_id, message_type, payload):
        return self.mas(
            "request", agent_id, message_type, json.dumps(payload), "--timeout", "30s", "-o", "json"
        )


@pytest.fixture
def shell(tmp_path):
    """A shell in an empty folder; what runs there ends with the test."""
    folder = tmp_path / "project"
    folder.mkdir()
    found = Shell(folder, tmp_path / "home")
    yield found
    found.mas("down")


def until(condition, seconds=60):
    """Wait until `condition` gives something, and give that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    pytest.fail("it did not come true in time")


def processes_in(folder):
    """Process id -> command line and environment of what runs in a folder."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in str((path / "cwd").readlink()):
                told = (path / "cmdline").read_bytes() + b"\0" + (path / "environ").read_bytes()
                found[int(path.name)] = told.decode(errors="replace")
        except OSError:
            continue
    found.pop(os.getpid(), None)
    return found


def serials(shell):
    """Holder -> serial of each certificate that counts."""
    listed = shell.mas("cert", "list", "-o", "json").json
    return {(row["kind"], row["name"]): row["serial"] for row in listed if row["status"] == "valid"}


def test_the_sample_project_runs_secure_by_one_command(shell):
    """As README says: certificates are made once, agents learn nothing of Redis, one that is revoked is told."""
    for name in ("mas.yaml", "policy.yaml"):
        shutil.copy(ROOT / name, shell.folder)
    shutil.copytree(ROOT / "agents.d", shell.folder / "agents.d")

    up = shell.mas("up", "--secure", "--detach")
    assert (up.code, up.err) == (0, "")
    assert "agents connect to 127.0.0.1:" in up.out
    status = shell.mas("status", "-o", "json").json
    (server,) = shell.mas("server", "status", "-o", "json").json
    assert status["problems"] == []
    assert [item["id"] for item in status["servers"]] == [server["id"]]
    assert (server["agents"], server["refused"]) == (6, 0)
    assert shell.request("calculator", "math.add", {"numbers": [1, 2]}).json == {"result": 3}
    assert shell.request("word-counter", "text.count", {"text": "how many words"}).json == {"output": "3"}
    assert shell.mas("send", "calculator", "math.add", "{}", "--as", "gossip").code == 5

    processes = processes_in(shell.folder)
    agents = {pid: told for pid, told in processes.items() if "instance_process" in told}
    password = (shell.folder / ".mas" / "keys" / "server.password").read_text().strip()
    assert len(agents) == 6
    assert not [
        told for told in agents.values() if password in told or "server.sock" in told or "redis:" in told
    ]

    made = serials(shell)
    assert {name for kind, name in made if kind == "agent"} == {agent["id"] for agent in status["agents"]} - {
        "operator"
    }
    assert shell.mas("cert", "revoke", "notebook", "--reason", "stolen", "--yes").code == 0
    (row,) = [item for item in shell.mas("agent", "list", "-o", "json").json if item["id"] == "notebook"]
    assert "was revoked" in row["trouble"]
    log = shell.folder / ".mas" / "logs" / "notebook-1.log"
    until(lambda: "was revoked" in log.read_text())
    assert shell.mas("cert", "rotate", "notebook").code == 0
    until(lambda: shell.request("notebook", "note.list", {}).code == 0)

    down = shell.mas("down")
    assert down.code == 0
    until(lambda: not processes_in(shell.folder))
    # It stays secure without being said again.
    assert shell.mas("up", "--detach").code == 0
    assert shell.mas("server", "status", "-o", "json").json[0]["address"] == server["address"]
    again = serials(shell)
    assert {who: serial for who, serial in again.items() if who != ("agent", "notebook")} == {
        who: serial for who, serial in made.items() if who != ("agent", "notebook")
    }


def test_certificates_of_another_authority_work_as_they_are(shell):
    """A mas.yaml with addresses, inline agents and paths needs no flag; what is wrong with it is told first."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (shell.folder / "mas.yaml").write_text(FOREIGN.format(port=port))
        (shell.folder / "ping.py").write_text(PING)
        no_port = shell.mas("up", "--detach", "-o", "json")
    no_authority = shell.mas("up", "--detach", "-o", "json")
    certificates = Certificates.make(shell.folder / "certs")
    certificates.issue("server", "localhost", ("127.0.0.1",))
    no_agent = shell.mas("up", "--detach", "-o", "json")
    certificates.issue("agent", "ping")

    up = shell.mas("up", "--detach")
    answer = shell.request("ping", "ping.now", {})
    doctor = shell.mas("doctor", "-o", "json").json
    (server,) = shell.mas("server", "status", "-o", "json").json
    # It comes back where it was, and so does the agent.
    os.kill(server["pid"], signal.SIGKILL)
    again = shell.request("ping", "ping.now", {})
    down = shell.mas("down", "-o", "json").json

    assert (no_port.code, no_authority.code, no_agent.code) == (2, 2, 2)
    assert f"nothing can listen at 127.0.0.1:{port}: Address already in use" in no_port.err
    assert "no certificate authority in" in no_authority.err
    assert "the agent ping goes through the server, and has no certificate" in no_agent.err
    assert (up.code, up.err) == (0, "")
    assert answer.json == {
        "url": f"grpcs://localhost:{port}",
        "certificate": str(shell.folder / "certs" / "agent-ping.pem"),
    }
    assert again.json == answer.json
    assert {item["check"]: item["status"] for item in doctor}["certificates"] == "ok"
    assert not (shell.folder / ".mas" / "certs" / "ca").exists()
    assert down["stopped"]
