"""Killing the gateway under load loses nothing, doubles nothing, and leaves nothing out of the audit.

The ledgers are outside: each sender writes down what was acknowledged, the receiver what its handler saw.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes as Linux shows them"),
]

KILLS = 20
SENDERS = ("left", "right")
SUPPORT = Path(__file__).parent.parent / "support"


@pytest.fixture
def project(tmp_path):
    """A running project with a receiver that keeps a ledger, and two senders that may send without limit."""
    folder = tmp_path / "kills"
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "REDIS_"))}
    environ |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    def mas(*words):
        return subprocess.run(
            [sys.executable, "-m", "mas_cli", *words],
            cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90,
        )  # fmt: skip

    folder.mkdir()
    assert mas("init", ".").returncode == 0
    shutil.copy(SUPPORT / "ledger_receiver.py", folder / "agents.d" / "ledger_receiver.py")
    (folder / "agents.d" / "receiver.yaml").write_text(
        "agent_id: receiver\nclass_path: ledger_receiver:Receiver\n"
    )
    rules = "".join(f"  - allow: {sender} -> receiver\n" for sender in SENDERS)
    limits = "".join(f"  {sender}: {{per_minute: 9000000, per_hour: 90000000}}\n" for sender in SENDERS)
    (folder / "policy.yaml").write_text(f"rules:\n{rules}limits:\n{limits}")
    assert mas("up", "--detach").returncode == 0
    for sender in SENDERS:
        assert mas("agent", "register", sender).returncode == 0
    yield folder, environ, mas
    mas("down")


def gateway_of(folder):
    """The process id of the project's gateway; None while there is none."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if b"mas_core.gateway\0" in command and (process / "cwd").readlink() == folder:
                return int(process.name)
        except OSError:
            continue
    return None


def wait_for(condition, seconds=30):
    """Wait until `condition` gives something, and give that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    pytest.fail(f"waited {seconds} s for nothing")


def test_twenty_kills_under_load_lose_and_double_nothing(project):
    """Acknowledged is handled, handled once, and recorded; and the chain of records holds."""
    folder, environ, mas = project
    senders = [
        subprocess.Popen(
            [sys.executable, str(SUPPORT / "ledger_sender.py"), name],
            cwd=folder, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for name in SENDERS
    ]  # fmt: skip
    for sender in senders:
        assert sender.stdout.readline() == "ready\n"

    chance = random.Random(20)
    for _ in range(KILLS):
        victim = wait_for(lambda: gateway_of(folder))
        acknowledged = sum(len(path.read_bytes()) for path in folder.glob("acknowledged-*.log"))
        wait_for(
            lambda before=acknowledged: (
                sum(len(path.read_bytes()) for path in folder.glob("acknowledged-*.log")) > before
            )
        )
        time.sleep(chance.uniform(0, 0.4))
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda gone=victim: gateway_of(folder) not in (None, gone))
    for sender in senders:
        sender.communicate(timeout=60)
        assert sender.returncode == 0
    handled_log = folder / "handled.log"
    acknowledged = {
        line for path in folder.glob("acknowledged-*.log") for line in path.read_text().splitlines()
    }
    wait_for(lambda: acknowledged <= set(handled_log.read_text().splitlines()))

    handled = Counter(handled_log.read_text().splitlines())
    listed = mas("audit", "list", "--type", "load.item", "--decision", "allowed", "-o", "jsonl")
    allowed = Counter(json.loads(line)["message_id"] for line in listed.stdout.splitlines())
    assert len(acknowledged) > KILLS
    assert acknowledged - set(handled) == set()
    assert [message for message, times in handled.items() if times > 1] == []
    assert set(handled) - set(allowed) == set()
    assert set(allowed) - set(handled) == set()
    assert max(allowed.values()) == 1
    verified = mas("audit", "verify")
    assert verified.returncode == 0, verified.stdout
