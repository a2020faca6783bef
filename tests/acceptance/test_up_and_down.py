"""A new project is started, used, killed in parts and stopped, by commands in processes of their own."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/environ").exists(), reason="looks at processes as Linux shows them"
    ),
]

SECONDS = 60


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        return json.loads(self.err.splitlines()[-1])["error"]


class Shell:
    """Runs `mas` in one folder, as a user without settings who lets others read new files."""

    def __init__(self, folder, home):
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "REDIS_"))}
        self.environ = {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        self.started = []

    def start(self, *words):
        process = subprocess.Popen(
            [sys.executable, "-m", "mas_cli", *words],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            umask=0o022,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def mas(self, *words):
        process = self.start(*words)
        out, err = process.communicate(timeout=SECONDS)
        return Ended(process.returncode, out, err)

    def greet(self, name):
        """What the project's agent answers, once it does."""
        payload = json.dumps({"name": name})
        return self.mas("request", "hello", "hello.greet", payload, "--timeout", "30s", "-o", "json")

    def close(self):
        self.mas("down")
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture
def shell(tmp_path):
    """A shell in a new project."""
    found = Shell(tmp_path, tmp_path / "home")
    assert found.mas("init", "shop").code == 0
    found.folder = tmp_path / "shop"
    yield found
    found.close()


@pytest.fixture
def running(shell):
    """A shell in a new project that runs in the background."""
    assert shell.mas("up", "--detach").code == 0
    return shell


def events_until(process, kind):
    """The events that a run tells, up to the first of this kind."""
    found = []
    for line in process.stdout:
        found.append(json.loads(line))
        if found[-1]["event"] == kind:
            return found
    pytest.fail(f"ended without {kind}: {found} {process.stderr.read()}")


def until(condition, seconds=30):
    """Wait until `condition` gives something, and give that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail("it did not come true in time")


def processes_of(folder):
    """Process id -> arguments and environment of what runs for the project."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            is_ours = str(folder).encode() in told or str(folder) in str((path / "cwd").readlink())
        except OSError:
            continue
        if is_ours and int(path.name) != os.getpid():
            found[int(path.name)] = told
    return found


def gateway_pid(shell):
    """Process id of the one gateway that runs."""
    gateways = shell.mas("gateway", "status", "-o", "json").json
    return gateways[0]["pid"] if len(gateways) == 1 else 0


def notary(shell):
    """What is told of the one notary that runs."""
    found = shell.mas("audit", "notary", "status", "-o", "json").json
    return found[0] if len(found) == 1 else {}


def test_down_signs_what_was_recorded_until_the_end(running):
    """The notary ends last: its last checkpoint names every record, the farewell of the agents included."""
    until(lambda: notary(running).get("signed"))
    running.greet("Ada")

    assert running.mas("down").code == 0

    folder = running.folder / ".mas" / "audit" / "p0"
    records = (folder / "open.jsonl").read_bytes().splitlines()
    last = (folder / "checkpoints").read_text().strip().split("\n\n")[-2].split("\n")
    assert int(last[1]) == len(records)
    assert json.loads(records[-1])["kind"] == "agent.detach"
    until(lambda: not processes_of(running.folder))


def test_a_new_project_runs_in_the_background_and_stops(shell):
    """up returns when all is ready, status says what runs, down ends all of it."""
    up = shell.mas("up", "--detach")
    status = shell.mas("status", "-o", "json")
    answer = shell.greet("Ada")
    down = shell.mas("down")

    assert (up.code, up.err) == (0, "")
    assert "mas request hello hello.greet" in up.out
    assert status.code == 0
    assert status.json["problems"] == []
    assert (status.json["profile"], status.json["server"]["append_only"]) == ("durable", "always")
    assert {agent["id"]: agent["status"] for agent in status.json["agents"]} == {
        "hello": "running",
        "operator": "stopped",
    }
    assert answer.json["greeting"] == "Hello, Ada!"
    assert down.code == 0
    until(lambda: not processes_of(shell.folder))


def test_what_does_not_run_is_said(shell):
    """down has nothing to do, and status cannot reach anything."""
    assert shell.mas("down", "-o", "json").json == {"stopped": False, "pid": None}
    status = shell.mas("status", "-o", "json")
    assert (status.code, status.out) == (3, "")
    assert "mas up" in status.error["hint"]


def test_a_project_runs_once(running):
    """The second up is a conflict, in the foreground and in the background, and disturbs nothing."""
    assert running.mas("up").code == 7
    assert running.mas("up", "--detach", "-o", "json").error["code"] == "lock_held"

    assert running.greet("Ada").code == 0


def test_ctrl_c_ends_everything_in_order(shell):
    """The events tell it, the exit code is 0, and no process is left."""
    process = shell.start("up", "-o", "jsonl")
    began = events_until(process, "ready")

    process.send_signal(signal.SIGINT)
    ended = events_until(process, "stopped")

    assert process.wait(SECONDS) == 0
    assert [event["event"] for event in began] == ["server", "gateway", "agent", "agent", "ready"]
    assert ended[0]["event"] == "stopping"
    assert "Ctrl-C again" in process.stderr.read()
    until(lambda: not processes_of(shell.folder))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_all_is_ready_ends_the_start(shell, number, code):
    """What has started is ended again."""
    process = shell.start("up", "-o", "jsonl")
    events_until(process, "server")

    process.send_signal(number)

    assert process.wait(SECONDS) == code
    until(lambda: not processes_of(shell.folder))


def test_a_second_ctrl_c_does_not_wait(shell):
    """An agent that never comes back is killed."""
    (shell.folder / "agents.d" / "stuck.py").write_text(
        "import time\nfrom mas_core import Agent\n\nclass Stuck(Agent):\n"
        "    @Agent.on('stick')\n    async def stick(self, message):\n        time.sleep(1000)\n"
    )
    (shell.folder / "agents.d" / "stuck.yaml").write_text("agent_id: stuck\nclass_path: stuck:Stuck\n")
    process = shell.start("up", "-o", "jsonl")
    events_until(process, "ready")
    assert shell.mas("send", "stuck", "stick", "{}").code == 0
    until(lambda: shell.mas("status", "-o", "json").json["backlog"])

    process.send_signal(signal.SIGINT)
    events_until(process, "stopping")
    process.send_signal(signal.SIGINT)

    assert process.wait(10) == 130
    until(lambda: not processes_of(shell.folder))


def test_a_reader_that_goes_away_ends_the_run_quietly(shell):
    """As `mas up -o jsonl | head -1` does."""
    process = shell.start("up", "-o", "jsonl")
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(SECONDS) == 141
    assert process.stderr.read() == ""


def test_state_survives_down_and_up(running):
    """What was acknowledged is there after a restart."""
    assert running.mas("state", "set", "hello", "note", '"buy milk"').code == 0
    assert running.mas("down").code == 0

    assert running.mas("up", "--detach").code == 0

    assert running.mas("state", "get", "hello", "-o", "json").json == {"note": "buy milk"}


@pytest.mark.parametrize("part", ["gateway", "agent", "server", "notary"])
def test_a_part_that_is_killed_comes_back(running, part):
    """Nobody has to do anything."""
    if part == "gateway":
        pid = gateway_pid(running)
    elif part == "notary":
        pid = until(lambda: notary(running)).get("pid")
    elif part == "agent":
        pid = running.mas("agent", "describe", "hello", "-o", "json").json["running_instances"][0]["pid"]
    else:
        pid = int((running.folder / ".mas" / "run" / "server.pid").read_text())

    os.kill(pid, signal.SIGKILL)

    until(lambda: running.greet("Ada").code == 0)
    assert until(lambda: gateway_pid(running))
    assert until(lambda: notary(running).get("pid", pid) != pid)
    assert running.mas("audit", "verify").code == 0


def test_up_works_after_up_was_killed(running):
    """What it left is no obstacle, and commands do not take it for a running project."""
    pid = int((running.folder / ".mas" / "run" / "lock").read_text())

    os.kill(pid, signal.SIGKILL)

    assert running.mas("status").code == 3
    assert running.mas("up", "--detach").code == 0
    assert running.greet("Ada").code == 0
    until(lambda: gateway_pid(running))


def test_everything_kept_is_private(running):
    """Folders 0700, files and sockets 0600 at most, whatever the umask."""
    running.greet("Ada")

    modes = {
        str(path): stat.S_IMODE(path.lstat().st_mode) for path in (running.folder / ".mas").rglob("*")
    } | {".mas": stat.S_IMODE((running.folder / ".mas").stat().st_mode)}

    assert len(modes) > 10
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}


def test_no_secret_stands_where_processes_are_listed(running):
    """Neither in arguments nor in the environment of anything that runs."""
    data = running.folder / ".mas"
    secrets = [path.read_text().strip() for path in (data / "tokens").iterdir()]
    secrets.append((data / "keys" / "server.password").read_text().strip())

    processes = processes_of(running.folder)

    assert len(processes) >= 4
    assert all(len(secret) > 20 for secret in secrets)
    assert [pid for pid, told in processes.items() for secret in secrets if secret.encode() in told] == []


def test_a_wrong_spec_is_named_before_anything_starts(shell):
    """With file and line, and exit code 2."""
    path = shell.folder / "agents.d" / "bad.yaml"
    path.write_text("agent_id: bad\nclass_pth: x:Y\n")

    up = shell.mas("up", "--detach", "-o", "json")

    assert (up.code, up.out) == (2, "")
    assert up.error["message"].startswith(f"{path}:2: ")
    assert not (shell.folder / ".mas" / "server").exists()


def test_a_server_that_is_away_is_named(shell):
    """In the foreground and in the background: exit code 3."""
    for words in (["up"], ["up", "--detach"]):
        up = shell.mas(*words, "--url", "redis://127.0.0.1:1", "-o", "json")

        assert (up.code, up.out) == (3, "")
        assert "127.0.0.1:1" in up.error["message"]


@pytest.mark.parametrize("words", [["--url", "memory://"], ["--profile", "ha"], ["--profile", "swift"]])
def test_what_cannot_be_run_is_refused(shell, words):
    """A server that other processes do not see, and a profile that the embedded server cannot keep."""
    up = shell.mas("up", *words, "-o", "json")

    assert (up.code, up.out) == (2, "")
    assert not (shell.folder / ".mas" / "server").exists()


def test_a_server_that_cannot_keep_the_profile_is_refused_unless_forced(shell, server_url):
    """Exit code 2 with what to change, by a gateway too; with --force it runs, and status says what is missing."""
    with (shell.folder / "mas.yaml").open("a") as config:
        config.write("namespace: forced\n")
    refused = shell.mas("up", "--detach", "--url", server_url, "-o", "json")
    alone = shell.mas("gateway", "run", "--url", server_url, "-o", "json")
    forced = shell.mas("up", "--detach", "--force", "--url", server_url)
    status = shell.mas("status", "-o", "json")

    for found in (refused, alone):
        assert (found.code, found.error["code"]) == (2, "profile_unmet")
        assert "needs appendfsync always" in found.error["message"]
        assert "redis-cli config set appendonly yes appendfsync always" in found.error["hint"]
    assert forced.code == 0
    assert "needs appendfsync always" in forced.out + forced.err
    assert any("needs appendfsync always" in item["message"] for item in status.json["problems"])


def test_an_agent_that_does_not_start_is_named(shell):
    """--detach fails with the reason; the rest runs, and status names the problem and what to type."""
    (shell.folder / "agents.d" / "broken.py").write_text(
        "from mas_core import Agent\n\nclass Broken(Agent):\n"
        "    def __init__(self, *given, **named):\n        raise RuntimeError('boom')\n"
    )
    (shell.folder / "agents.d" / "broken.yaml").write_text("agent_id: broken\nclass_path: broken:Broken\n")

    up = shell.mas("up", "--detach")

    assert up.code == 1
    assert "RuntimeError: boom" in up.err
    assert shell.greet("Ada").code == 0
    problems = shell.mas("status", "-o", "json").json["problems"]
    assert problems == [{"message": "the agent broken is not running", "fix": "mas agent run broken"}]


def test_a_start_that_takes_too_long_is_late(shell):
    """--detach ends with exit code 4 after --timeout."""
    (shell.folder / "agents.d" / "slow.py").write_text(
        "import asyncio\nfrom mas_core import Agent\n\nclass Slow(Agent):\n"
        "    async def start(self):\n        await asyncio.sleep(1000)\n"
    )
    (shell.folder / "agents.d" / "slow.yaml").write_text("agent_id: slow\nclass_path: slow:Slow\n")

    assert shell.mas("up", "--detach", "--timeout", "5s").code == 4


def test_a_gateway_runs_beside_the_first(running):
    """It is listed, its name is its own, and it drains on SIGTERM."""
    process = running.start("gateway", "run", "--id", "second", "-o", "jsonl")
    events_until(process, "ready")

    status = running.mas("gateway", "status", "-o", "json")
    again = running.mas("gateway", "run", "--id", "second")
    process.send_signal(signal.SIGTERM)
    events_until(process, "stopped")

    assert status.code == 0
    assert "second" in [gateway["id"] for gateway in status.json]
    assert again.code == 7
    assert process.wait(SECONDS) == 0


def test_agents_run_beside_those_that_run(running):
    """A further instance takes part until Ctrl-C."""
    process = running.start("agent", "run", "hello", "-o", "jsonl")
    events_until(process, "ready")
    instances = running.mas("agent", "describe", "hello", "-o", "json").json["instances"]

    process.send_signal(signal.SIGINT)

    assert process.wait(SECONDS) == 0
    assert instances == 2
    assert running.greet("Ada").code == 0


def test_agents_of_another_folder_run_until_they_have_handled_enough(running):
    """Two instances of what --dir says; they end by themselves, and the rules of the project stay."""
    other = running.folder / "more.d"
    other.mkdir()
    for name in ("hello.yaml", "hello.py"):
        (other / name).write_text((running.folder / "agents.d" / name).read_text())
    process = running.start(
        "agent", "run", "--all", "--dir", "more.d", "--instances", "2", "--max-messages", "2",
        "--drain", "5s", "-o", "jsonl",
    )  # fmt: skip
    events_until(process, "ready")
    instances = running.mas("agent", "describe", "hello", "-o", "json").json["instances"]
    greeted = [running.greet("Ada").code for _ in range(2)]

    assert process.wait(SECONDS) == 0
    assert instances == 3
    assert greeted == [0, 0]
    assert running.mas("agent", "run", "--all", "--dir", "nowhere").code == 2
    assert running.mas("agent", "run", "hello", "--drain", "soon").code == 2


def test_agents_to_run_have_to_be_named(running):
    """No name is a mistake, an unknown one is not found."""
    assert running.mas("agent", "run").code == 2
    assert running.mas("agent", "run", "helo", "-o", "json").error["details"]["closest"] == ["hello"]
    assert running.mas("agent", "run", "helo").code == 6


def test_bench_counts_every_message_and_leaves_nothing(running):
    """All handled once; its agents, rule and limit are gone afterwards."""
    before = running.mas("rbac", "list", "-o", "json").json

    bench = running.mas("bench", "send", "--count", "300", "-o", "json")

    assert bench.code == 0
    counts = {name: bench.json[name] for name in ("sent", "handled", "refused", "lost", "duplicated")}
    assert counts == {"sent": 300, "handled": 300, "refused": 0, "lost": 0, "duplicated": 0}
    assert 0 < bench.json["p50_ms"] <= bench.json["p95_ms"] <= bench.json["p99_ms"]
    assert bench.json["rate_per_s"] > 0
    assert bench.json["gateway_cpu_us_per_message"] > 0
    assert running.mas("rbac", "list", "-o", "json").json == before
    assert [agent["id"] for agent in running.mas("agent", "list", "-o", "json").json] == ["hello", "operator"]


def test_a_hardened_project_runs_under_users_of_its_own(shell):
    """Each comes to the server as itself, nobody as its default user, also after a rotation."""
    assert shell.mas("up", "--detach", "--hardened").code == 0
    assert shell.greet("Ada").code == 0
    listed = {row["user"]: row for row in shell.mas("redis-users", "list", "-o", "json").json}
    roles = {"mas-gateway", "mas-front", "mas-auditor", "mas-operator"}
    assert set(listed) == {"default", "mas-agent-hello", *roles}
    assert stat.S_IMODE(Path(listed["mas-agent-hello"]["login"]).stat().st_mode) == 0o600
    passwords = {
        Path(row["login"]).read_text().strip().partition(":")[2].encode()
        for row in listed.values()
        if row["login"]
    }
    assert len(passwords) == 5
    shown = shell.mas("agent", "provision", "hello", "--dry-run", "-o", "json")
    assert (shown.json["change"], "+evalsha" in shown.json["rules"]) == ("updated", True)

    assert shell.mas("agent", "provision", "hello", "--rotate").code == 0
    assert shell.greet("Bob").code == 0
    told = b"".join(processes_of(shell.folder).values())
    kept = b"".join(
        path.read_bytes()
        for path in (shell.folder / ".mas").rglob("*")
        if path.is_file() and path.parent.name in ("server", "logs", "audit")
    )
    assert not any(password in told + kept for password in passwords)
    assert b"user default off" in (shell.folder / ".mas" / "server" / "users.acl").read_bytes()
