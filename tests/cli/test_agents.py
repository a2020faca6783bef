"""`mas agent`, what protects a context, and completion of agents, on a running system."""

from __future__ import annotations

import json
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mas_cli.completion import values
from mas_cli.completion.fast_path import answer


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def billing(mas):
    """An agent for one test."""
    assert mas("agent", "register", "billing", "--capability", "invoices").code == 0
    yield "billing"
    mas("agent", "deregister", "billing", "--yes")


def test_a_block_stands_on_its_own_side(mas, billing):
    """What nobody may send to the agent is no rule for what it sends."""
    assert mas("agent", "block", billing).code == 0

    found = mas("agent", "describe", billing, "-o", "json").json

    assert [rule["to"] for rule in found["rules_from"] if rule["id"] == "block:billing"] == ["*"]
    assert [rule["from"] for rule in found["rules_to"] if rule["id"] == "block:billing"] == ["*"]


def test_agents_are_listed_with_what_they_do(mas):
    """Running or not; filters hold."""
    found = {agent["id"]: agent for agent in mas("agent", "list", "-o", "json").json}

    assert found["calculator"]["status"] == "running"
    assert found["calculator"]["capabilities"] == ["math"]
    assert found["sleeper"]["status"] == "stopped"
    assert found["sleeper"]["last_seen"] is None
    assert re.fullmatch(r"\d{4}-.*\.\d{3}Z", found["calculator"]["last_seen"])
    assert mas("agent", "list", "--capability", "notes", "-o", "name").out == "notebook\n"
    assert "calculator" not in mas("agent", "list", "--status", "stopped", "-o", "name").out.split()
    assert mas("agent", "list", "--status", "asleep").code == 2


def test_an_agent_is_described_whole(mas):
    """With instances, tokens and rules; people get a table of each."""
    found = mas("agent", "describe", "notebook", "-o", "json").json
    table = mas("agent", "describe", "notebook").out

    assert found["metadata"] == {"zone": "eu"}
    assert [item["status"] for item in found["running_instances"]] == ["active"]
    assert [token["valid"] for token in found["tokens"]] == [True]
    assert {"r1", "r3"} <= {rule["id"] for rule in found["rules_to"]}
    assert "\nrunning instances\n" in table
    assert "\nrules to\n" in table
    assert mas("agent", "describe", "nobody").code == 6
    assert mas("agent", "describe", "notebook", "--columns", "id,status").out == (
        "id      notebook\nstatus  running\n"
    )


def test_what_an_agent_could_not_handle_stands_in_its_description(mas):
    """The newest dead letter with code and reason; other agents have none of it."""
    sent = mas("send", "calculator", "text.fail", "{}", "-o", "json").json
    for _ in range(100):
        found = mas("agent", "describe", "calculator", "-o", "json").json["last_errors"]
        if found:
            break
        time.sleep(0.05)
    letter = mas("dlq", "get", found[0]["id"], "-o", "json").json

    assert (found[0]["type"], found[0]["from"]) == ("text.fail", "operator")
    assert found[0]["reason"]
    assert sent["id"] in json.dumps(letter)
    assert "\nlast errors\n" in mas("agent", "describe", "calculator").out
    assert mas("agent", "describe", "notebook", "-o", "json").json["last_errors"] == []


def test_a_new_agent_gets_a_private_token_file(mas, billing):
    """The token itself is shown nowhere; its agent can act at once, within the rules."""
    path = Path(".mas/tokens/billing.token")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert mas("send", "notebook", "note.add", "--as", "billing").code == 5
    again = mas("agent", "register", "billing", "-o", "json")
    assert (again.code, again.error["code"]) == (7, "already_registered")
    assert path.read_text().strip() not in again.err
    assert mas("agent", "register", "Not An Id").code == 2


def test_a_token_is_shown_only_when_asked(mas, billing):
    """And is kept nowhere then."""
    before = Path(".mas/tokens/billing.token").read_bytes()

    rotated = mas("agent", "token", "rotate", "billing", "--overlap", "0s", "-o", "json")
    hidden = rotated.json
    assert "restart billing within 0s" in rotated.err
    shown = mas("agent", "token", "rotate", "billing", "--show", "-o", "json").json

    assert "token" not in hidden
    assert Path(".mas/tokens/billing.token").read_bytes() != before
    assert shown["token"].startswith("mas_")
    assert shown["path"] is None
    assert shown["token"] not in Path(".mas/tokens/billing.token").read_text()


def test_a_revoked_token_is_refused(mas, billing):
    """All of them, or one by its key id."""
    (key,) = [token["key_id"] for token in mas("agent", "describe", "billing", "-o", "json").json["tokens"]]

    assert mas("agent", "token", "revoke", "billing", "--key", "0000").code == 6
    assert mas("agent", "token", "revoke", "billing", "-o", "json").json[0]["key_id"] == key
    refused = mas("send", "notebook", "note.add", "--as", "billing", "-o", "json")
    assert (refused.code, refused.error["code"]) == (5, "token_revoked")
    assert mas("agent", "token", "revoke", "billing").code == 6
    assert mas("agent", "token", "rotate", "billing").code == 0
    assert mas("send", "notebook", "note.add", "--as", "billing", "-o", "json").error["code"] == "forbidden"


def test_removing_a_running_agent_is_warned_of(mas, billing):
    """Before the question: how many instances end; nothing of it where none runs."""
    ran = mas("agent", "deregister", "calculator")

    assert ran.code == 2
    assert "calculator is running: 1 of its instances will end at once" in ran.err
    assert "is running" not in mas("agent", "deregister", "billing").err


def test_an_agent_is_removed_with_a_yes_only(mas, billing):
    """Then it does not exist."""
    assert mas("agent", "deregister", "billing").code == 2
    assert mas("agent", "describe", "billing").code == 0
    assert mas("agent", "deregister", "billing", "--yes").code == 0
    assert mas("agent", "describe", "billing").code == 6
    assert mas("agent", "deregister", "billing", "--yes").code == 6


def test_a_protected_context_asks_for_its_name(mas, billing, running_project):
    """--yes is not enough there, not even for one thing."""
    mas("context", "add", "prod", "--project", str(running_project), "--protected")

    ran = mas("--context", "prod", "agent", "deregister", "billing", "--yes", "-o", "json")

    assert (ran.code, ran.error["code"]) == (2, "confirmation_needed")
    assert "--confirm prod" in ran.error["hint"]
    assert mas("-c", "prod", "state", "reset", "billing", "--confirm", "demo").code == 2
    assert mas("-c", "prod", "agent", "deregister", "billing", "--confirm", "prod").code == 0


def test_a_read_only_context_refuses_every_change(mas, running_project):
    """Before anything is read or asked; looking is fine."""
    mas("context", "add", "look", "--project", str(running_project), "--no-writes")

    for words in (
        ("send", "notebook", "note.add"),
        ("rbac", "allow", "outsider", "silent"),
        ("state", "reset", "sleeper", "--yes"),
        ("agent", "register", "billing"),
    ):
        ran = mas("--context", "look", *words, "-o", "json")
        assert (ran.code, ran.error["code"]) == (2, "read_only")
    assert mas("--context", "look", "agent", "list", "-o", "name").code == 0


def test_agents_are_completed(running_project, monkeypatch, tmp_path):
    """Where an agent is meant; from the project, from --config, and never from a dead server."""

    def offered(*words: str) -> list[str]:
        return [line.partition("\t")[0] for line in answer("zsh", words)]

    assert {"calculator", "notebook", "operator"} <= set(offered("agent", "describe", ""))
    assert offered("send", "cal") == ["calculator"]
    assert offered("rbac", "allow", "outsider", "s") == ["silent", "sleeper"]
    assert offered("audit", "list", "--from", "note") == ["notebook"]
    monkeypatch.chdir(tmp_path)
    assert offered("agent", "describe", "cal") == []
    assert offered("--config", str(running_project), "agent", "describe", "cal") == ["calculator"]
    assert offered("--url", "redis://127.0.0.1:1", "agent", "describe", "cal") == []


def test_message_types_and_ids_are_completed(mas, monkeypatch):
    """Those of the newest messages, ids with what each was; not replies, and nothing that is hostile."""
    monkeypatch.setattr(values, "DEADLINE", 20)
    message_id = mas("send", "calculator", "sum.later", "-o", "json").json["id"]
    hostile = mas("send", "calculator", "sum.later", "--id", "a.$(x)", "-o", "json")
    assert mas("request", "calculator", "math.add", '{"numbers":[1]}').code == 0

    types = [line.partition("\t")[0] for line in answer("zsh", ["send", "calculator", ""])]

    assert {"sum.later", "math.add"} <= set(types)
    assert "math.add.reply" not in types
    assert answer("bash", ["audit", "list", "--type", "sum.l"]) == ["sum.later\t"]
    assert answer("zsh", ["trace", message_id[:20]])[:1] == [
        f"{message_id}\tsum.later operator -> calculator allowed"
    ]
    assert hostile.code == 2
    assert answer("zsh", ["audit", "prove", "a."]) == []


@pytest.mark.parametrize("words", [("agent", "list"), ("rbac", "list"), ("audit", "verify"), ("watch",)])
def test_a_server_that_is_not_there_is_unreachable(mas, words):
    """Exit 3 at once, with what to do."""
    ran = mas("--url", "redis://127.0.0.1:1", *words, "-o", "json")

    assert (ran.code, ran.error["code"], ran.out) == (3, "store_unreachable", "")


def test_a_project_that_does_not_run_says_how_to_start(mas, monkeypatch, tmp_path):
    """Made by init, and then nothing runs."""
    monkeypatch.chdir(tmp_path)
    made = mas("init", "new", "-o", "json")
    assert made.code == 0
    assert {Path(row["path"]).name for row in made.json} >= {"mas.yaml", "policy.yaml", ".gitignore"}
    assert "cd new\n" in made.err
    assert "mas up\n" in made.err
    assert mas("init", "new").code == 7
    monkeypatch.chdir(tmp_path / "new")

    ran = mas("agent", "list", "-o", "json")

    assert (ran.code, ran.error["hint"][0]) == (3, "mas up")


def test_json_of_an_agent_needs_no_terminal(mas):
    """The same bytes with colour forced."""
    plain = mas("agent", "describe", "sleeper", "-o", "json").out

    assert json.loads(plain)["id"] == "sleeper"
    assert mas("agent", "describe", "sleeper", "-o", "json", "--color", "always").out == plain


def test_agent_run_tells_who_is_late_after_its_timeout(mas, running_project):
    """`--timeout` says how long agents may take to get ready; then the run goes on and tells who did not."""
    folder = running_project / "agents.d"
    (folder / "dawdler.yaml").write_text("agent_id: dawdler\nclass_path: dawdler:Dawdler\n")
    (folder / "dawdler.py").write_text(
        "import time\nfrom mas_core import Agent\ntime.sleep(60)\n\n\nclass Dawdler(Agent):\n    pass\n"
    )
    command = [
        sys.executable,
        "-m",
        "mas_cli",
        "agent",
        "run",
        "dawdler",
        "--timeout",
        "300ms",
        "-o",
        "jsonl",
    ]
    try:
        with subprocess.Popen(command, cwd=running_project, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            events = (json.loads(line) for line in process.stdout)
            ready = next(event for event in events if event["event"] == "ready" and event["state"])
            process.send_signal(signal.SIGINT)
            next(event for event in events if event["event"] == "stopping")
            process.send_signal(signal.SIGINT)
            process.wait(30)
    finally:
        for path in folder.glob("dawdler.*"):
            path.unlink()
    assert ready["state"] == "late"
    assert "1 agent process does not run" in json.dumps(ready)
