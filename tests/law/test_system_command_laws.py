"""The contract of every command that acts on a running system: formats, errors, danger."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from support.followed_evidence import write_proof
from support.running_system import HOSTILE, OBEYED
from support.signed_export import PUBLIC_KEY, write_public_key, write_signed_export

from mas_cli import app
from mas_cli.command_table import COMMANDS, Command
from mas_cli.reference.command_spec import exit_codes
from mas_core.agent.resources import ask
from mas_core.agent.supervisor import Supervisor
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.payload_keys import PayloadKeys
from mas_core.errors import DeadLetterNotFound
from mas_core.ops import audit, dead_letters, messages, rbac
from mas_core.ops.system import System
from mas_core.settings.target import resolve_target

SYSTEM_CALLS = {
    "agent list": [],
    "agent describe": ["calculator"],
    "agent register": ["lawful-{n}"],
    "agent deregister": ["lawful-{n}", "--yes"],
    "agent pause": ["lawful-{n}"],
    "agent resume": ["sleeper"],
    "agent drain": ["lawful-{n}"],
    "agent quarantine": ["lawful-{n}"],
    "agent evict": ["lawful-{n}", "--reason", "a law", "--yes"],
    "agent token rotate": ["sleeper"],
    "server token": ["sleeper"],
    "agent token revoke": ["lawful-{n}"],
    "agent provision": ["lawful-{n}"],
    "redis-users apply": [],
    "redis-users list": [],
    "discover": [],
    "send": ["calculator", "text.echo"],
    "request": ["calculator", "text.echo", '{"a":1}'],
    "watch": ["--for", "50ms"],
    "record": ["--out", "lawful-{n}.rec", "--for", "50ms"],
    "trace": ["{copy}"],
    "rbac allow": ["outsider", "sleeper", "--dry-run"],
    "rbac deny": ["outsider", "sleeper", "--dry-run"],
    "agent trust": ["lawful-{n}", "--expires", "1h"],
    "agent untrust": ["lawful-{n}"],
    "agent block": ["lawful-{n}", "--reason", "a test"],
    "agent unblock": ["lawful-{n}"],
    "limit list": [],
    "limit get": ["sleeper"],
    "limit set": ["lawful-{n}", "--per-minute", "10"],
    "limit reset": ["sleeper"],
    "rbac network": ["outsider", "sleeper", "--dry-run"],
    "rbac broadcast": ["outsider", "sleeper", "--dry-run"],
    "rbac wildcard": ["outsider", "--dry-run"],
    "rbac apply": ["--file", "lawful-policy.yaml", "--dry-run"],
    "rbac export": [],
    "rbac diff": ["--file", "lawful-policy.yaml"],
    "rbac history": ["--limit", "5"],
    "rbac rollback": ["1", "--dry-run"],
    "rbac role list": [],
    "rbac role create": ["lawful-{n}", "sleeper"],
    "rbac role assign": ["lawful-{n}", "sleeper"],
    "rbac role unassign": ["lawful-{n}", "sleeper"],
    "rbac capability list": [],
    "rbac capability bind": ["lawful.*", "sleeper"],
    "rbac capability free": ["lawful-{n}"],
    "route list": [],
    "route set": ["lawful-{n}", "sleeper"],
    "route remove": ["lawful-{n}"],
    "route test": ["text.echo", "--to", "capability:math"],
    "policy features": [],
    "policy set": ["dlp", "on"],
    "policy test": ["--file", "lawful-cases.yaml"],
    "policy simulate": ["--file", "lawful-policy.yaml", "--since", "now"],
    "policy shadow set": ["--file", "lawful-policy.yaml"],
    "policy shadow report": [],
    "policy shadow clear": [],
    "rbac hold": ["outsider", "sleeper", "--dry-run"],
    "rbac revoke": ["r1", "--dry-run"],
    "rbac list": [],
    "rbac check": ["operator", "calculator"],
    "rbac explain": ["operator", "calculator"],
    "approval list": [],
    "approval get": ["{approval}", "--payload"],
    "approval approve": ["{approval}", "--reason", "lawful"],
    "approval reject": ["{approval}", "--reason", "lawful"],
    "bus status": ["--over", "20ms"],
    "bus inspect": ["sleeper", "--payload"],
    "bus claim": ["lawful-{n}"],
    "bus trim": ["lawful-{n}", "--keep", "0", "--yes"],
    "consensus open": ["A law?", "--voters", "operator"],
    "consensus vote": ["lawful-{n}", "yes"],
    "consensus status": ["lawful-{n}"],
    "consensus list": [],
    "consensus close": ["lawful-{n}"],
    "consensus verify": ["lawful-{n}"],
    "consensus export": ["lawful-{n}"],
    "bus replay": ["--agent", "calculator", "--type", "kept.law", "--to", "notebook"],
    "event emit": ["order.created", '{"amount":120}'],
    "event replay": ["--type", "order.*", "--to", "sleeper"],
    "schedule list": [],
    "schedule get": ["{scheduled}", "--payload"],
    "schedule cancel": ["{scheduled}", "--yes"],
    "topic list": [],
    "topic publish": ["lawful.topic", "@cruel.json"],
    "topic subscribe": ["lawful.topic", "--from", "beginning", "--count", "1", "--for", "9s"],
    "leader status": ["{group}"],
    "leader watch": ["{group}", "--for", "50ms"],
    "leader resign": ["{group}"],
    "task assign": ["lawful", "-F", "n=1"],
    "task list": [],
    "task get": ["{done}"],
    "task watch": ["{done}"],
    "task cancel": ["{waiting}"],
    "task retry": ["{cancelled}"],
    "task stats": [],
    "dlq list": [],
    "dlq get": ["{letter}", "--payload"],
    "dlq stats": [],
    "dlq retry": ["{letter}", "--reason", "lawful"],
    "dlq drop": ["{letter}", "--yes"],
    "dlq restore": ["{dropped}"],
    "breaker list": [],
    "breaker reset": ["sleeper"],
    "breaker open": ["sleeper", "--for", "1s", "--dry-run"],
    "audit list": ["--limit", "5"],
    "audit tail": [],
    "audit get": ["1"],
    "audit verify": [],
    "audit prove": ["17", "--folder", "lawful-{n}/evidence"],
    "audit report": ["--standard", "soc2", "--period", "1d"],
    "audit check-signature": ["m1", "--file", "lawful-{n}.jsonl", "--public-key", PUBLIC_KEY],
    "key generate": ["lawful-{n}"],
    "audit payload": ["{copy}"],
    "audit fingerprint": ["{copy}", "--value", '{"kept":true}'],
    "key list": ["sleeper"],
    "key import": ["sleeper", "lawful-{n}.pem"],
    "key rotate": ["lawful-{n}"],
    "key revoke": ["lawful-{n}", "--yes"],
    "cert ca": ["--rotate"],
    "cert issue": ["lawful-{n}"],
    "cert list": [],
    "cert revoke": ["lawful-{n}", "--yes"],
    "cert rotate": ["lawful-{n}"],
    "operator add": ["lawful-{n}", "--role", "viewer"],
    "operator list": [],
    "operator remove": ["lawful-{n}", "--yes"],
    "operator role set": ["lawful-{n}", "auditor"],
    "operator token rotate": ["lawful-{n}"],
    "audit export": ["--format", "json", "--out", "lawful.json", "--yes"],
    "audit archive": ["--no-trim"],
    "audit erase": ["lawful-{n}", "--reason", "a law", "--yes"],
    "audit count": ["--by", "decision"],
    "audit notary status": [],
    "audit key show": [],
    "audit key rotate": [],
    "audit resume": ["--dry-run"],
    "audit retention list": [],
    "audit retention set": ["hipaa", "--dry-run"],
    "state get": ["sleeper"],
    "state diff": ["lawful-{n}", "--file", "lawful-state.json"],
    "state set": ["sleeper", "lawful", "1"],
    "state list": [],
    "state patch": ["sleeper", '{"lawful": 2}'],
    "state reset": ["silent", "--yes"],
    "backup create": ["--out", "lawful-{n}.zip"],
    "backup restore": ["{backup}", "--force", "--dry-run"],
    "status": [],
    "health": [],
    "metrics": [],
    "check": ["server", "clock"],
    "gateway status": [],
    "server status": [],
    "gateway drain": ["--all", "--force", "--dry-run"],
    "gateway resume": ["--all"],
    "partitions list": [],
    "partitions set": ["4", "--dry-run"],
}
"""Arguments with which a command on the running system succeeds.

`lawful-{n}` is an agent made for it, `{approval}` a message that waits, `{copy}` one whose payload is kept,
`{scheduled}` one that is not due for an hour, `{letter}` a dead letter, `{dropped}` one that was dropped, and
`{backup}` a backup, `{group}` a group that is led, `{waiting}`, `{done}` and `{cancelled}` tasks.
"""

ADD_OPERATOR = ["operator", "add", "lawful-{n}", "--role", "viewer"]
OPEN_VOTE = ["consensus", "open", HOSTILE, "--voters", "operator", "--id", "lawful-{n}"]
PREPARATIONS = {
    "agent untrust": ["agent", "trust", "lawful-{n}"],
    "agent unblock": ["agent", "block", "lawful-{n}"],
    "rbac role assign": ["rbac", "role", "create", "lawful-{n}"],
    "rbac role unassign": ["rbac", "role", "create", "lawful-{n}", "sleeper"],
    "rbac capability free": ["rbac", "capability", "bind", "lawful-{n}", "sleeper"],
    "route remove": ["route", "set", "lawful-{n}", "sleeper"],
    "policy shadow report": ["policy", "shadow", "clear"],
    **{f"operator {verb}": ADD_OPERATOR for verb in ("remove", "role set", "token rotate")},
    **{f"consensus {verb}": OPEN_VOTE for verb in ("vote", "status", "close", "verify", "export")},
}
"""What has to be done before a command can succeed."""

FILES = {
    "lawful-state.json": "{}",
    "lawful-policy.yaml": 'rules: [{allow: "* -> *"}]\n',
    "lawful-cases.yaml": "cases: [{from: operator, to: sleeper, expect: allowed}]\n",
}

CRUEL = {"text": HOSTILE, HOSTILE: [HOSTILE], "long": "\x1b[7m\u202e" * 10_000}
"""A payload and a state that nobody should look at with a terminal; 100 KB and more."""

RUNNING = {
    "up",
    "down",
    "gateway run",
    "server run",
    "agent run",
    "audit notary run",
    "event record",
    "tui",
    "reply",
} | {f"bench {name}" for name in ("send", "request", "discover", "dlp", "policy")}
"""Commands that run or end something themselves; they have tests of their own."""

RUNNING_CALLS = {"agent run": ["nobody"], "reply": ["x", "--echo"]}
"""What some of them cannot do without."""

SYSTEM = [entry for entry in COMMANDS if entry.scope == "system" and entry.name not in RUNNING]
system_commands = pytest.mark.parametrize("entry", SYSTEM, ids=lambda entry: entry.name.replace(" ", "-"))
_numbers = itertools.count()


@pytest.fixture
def system_call(running_project, tmp_path, monkeypatch):
    """Makes a call that succeeds, in the running project, as another one each time."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "MAS_OUTPUT", "MAS_URL", "MAS_CONTEXT", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.chdir(running_project)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for file_name, text in FILES.items():
        (running_project / file_name).write_text(text)
    if not (running_project / "cruel.json").exists():
        (running_project / "cruel.json").write_text(json.dumps(CRUEL))
        for name in ("sleeper", "silent"):
            assert app.main(["state", "set", name, ".", "@cruel.json"]) == 0
        assert app.main(["send", "sleeper", "cruel.one", "@cruel.json"]) == 0
        assert app.main(["agent", "pause", "outsider", "--reason", HOSTILE]) == 0
        assert app.main(["rbac", "deny", "outsider", "silent", "--reason", HOSTILE]) == 0
        assert app.main(["agent", "block", "outsider", "--reason", HOSTILE]) == 0
    CheckpointKeys(running_project / ".mas" / "audit", running_project / ".mas" / "keys", "mas")

    def make(entry: Command) -> list[str]:
        name = f"lawful-{next(_numbers)}"
        words = SYSTEM_CALLS[entry.name]
        if "lawful-{n}" in words and entry.name != "agent register":
            assert app.main(["agent", "register", name]) == 0
        if entry.name in PREPARATIONS:
            prepared = [word.replace("lawful-{n}", name) for word in PREPARATIONS[entry.name]]
            assert app.main(prepared) == 0
        if entry.name in {"cert issue", "cert revoke", "cert rotate"}:
            app.main(["cert", "ca"])
        if entry.name in {"cert revoke", "cert rotate"}:
            assert app.main(["cert", "issue", name]) == 0
        if "{approval}" in words:
            approval = asyncio.run(_held_message(running_project))
            words = [word.replace("{approval}", approval) for word in words]
        if "{scheduled}" in words:
            scheduled = asyncio.run(_scheduled_message(running_project))
            words = [word.replace("{scheduled}", scheduled) for word in words]
        if "{copy}" in words or entry.name == "bus replay":
            copy = asyncio.run(_kept_message(running_project, {} if "fingerprint" in entry.name else CRUEL))
            words = [word.replace("{copy}", copy) for word in words]
        for state in {"{waiting}", "{done}", "{cancelled}"} & set(words):
            task_id = asyncio.run(_task(running_project, state.strip("{}")))
            words = [word.replace(state, task_id) for word in words]
        if "{group}" in words:
            group = asyncio.run(_led_group(running_project))
            words = [word.replace("{group}", group) for word in words]
        if entry.name.startswith("topic "):
            asyncio.run(_publish_something(running_project))
        if entry.name == "task assign":
            asyncio.run(_let_operator_coordinate(running_project))
        if entry.name == "event emit":
            app.main(["agent", "register", "event-recorder"])
        if entry.name == "audit erase":
            PayloadKeys(running_project / ".mas" / "keys" / "payloads").key_for(name)
        if {"{letter}", "{dropped}"} & set(words):
            letter = asyncio.run(_dead_letter(running_project, dropped="{dropped}" in words))
            words = [letter if word in {"{letter}", "{dropped}"} else word for word in words]
        if "{backup}" in words:
            assert app.main(["backup", "create", "--out", f"{name}.zip"]) == 0
            words = [word.replace("{backup}", f"{name}.zip") for word in words]
        if "lawful-{n}/evidence" in words:
            write_proof(Path(name))
        if "lawful-{n}.pem" in words:
            write_public_key(Path(f"{name}.pem"))
        if "lawful-{n}.jsonl" in words:
            write_signed_export(Path(f"{name}.jsonl"))
        return [*entry.name.split(), *(word.replace("lawful-{n}", name) for word in words)]

    return make


async def _held_message(folder: Path) -> str:
    """Send a message that is held; the approval that it waits for."""
    async with System(resolve_target(config=folder, environ={})) as system:
        (rule,) = await rbac.add_rules(system, "hold", "operator", ["sleeper"], message_type="held.law")
        receipt = await messages.send(system, "sleeper", "held.law", CRUEL)
        await rbac.revoke(system, [rule.id])
        return receipt.approval


async def _scheduled_message(folder: Path) -> str:
    """Send a message for later; its id."""
    async with System(resolve_target(config=folder, environ={})) as system:
        return (await messages.send(system, "sleeper", "later.law", CRUEL, deliver_after=3600)).message_id


async def _let_operator_coordinate(folder: Path) -> None:
    """Let the operator do everything to every queue and group."""
    async with System(resolve_target(config=folder, environ={})) as system:
        await rbac.add_rules(system, "allow", "operator", ["task:>", "leader:>", "topic:>"])


async def _publish_something(folder: Path) -> None:
    """Publish what nobody could show unchanged."""
    await _let_operator_coordinate(folder)
    async with System(resolve_target(config=folder, environ={})) as system:
        await messages.send(system, "topic:lawful.topic", "lawful.topic", CRUEL)


async def _task(folder: Path, state: str) -> str:
    """Assign a task that nobody could show unchanged, and bring it into a state; its id."""
    await _let_operator_coordinate(folder)
    async with (
        System(resolve_target(config=folder, environ={})) as system,
        messages.connected(system) as client,
    ):
        boss = Supervisor(client)
        task_id = await boss.assign("lawful", CRUEL, description=HOSTILE[:900], timeout=3600)
        if state == "cancelled":
            await boss.cancel(task_id, HOSTILE[:900])
        if state == "done":
            taken: list[str] = []
            while task_id not in taken:
                answer = await ask(client, "task", "default", "take", {"slots": 200, "types": ["lawful"]})
                taken += [task["task_id"] for task in answer["tasks"]]
            done = {"task_id": task_id, "attempt": 1, "result": CRUEL}
            await ask(client, "task", "default", "finish", done)
            await ask(client, "task", "default", "leave", {})
        return task_id


async def _led_group(folder: Path) -> str:
    """Let the operator lead a group; its name."""
    await _let_operator_coordinate(folder)
    name = f"group-{next(_numbers)}"
    async with (
        System(resolve_target(config=folder, environ={})) as system,
        messages.connected(system) as client,
    ):
        await ask(client, "leader", name, "campaign", {"lease_ms": 60_000})
    return name


async def _dead_letter(folder: Path, *, dropped: bool) -> str:
    """Send a message that is given up at once; its dead letter."""
    async with System(resolve_target(config=folder, environ={})) as system:
        receipt = await messages.send(system, "calculator", "text.fail", CRUEL)
        async with asyncio.timeout(10):
            while True:
                try:
                    letter = await dead_letters.get(system, receipt.message_id)
                    break
                except DeadLetterNotFound:
                    await asyncio.sleep(0.02)
        if dropped:
            await dead_letters.drop(system, [letter.id])
        return letter.id


async def _kept_message(folder: Path, more: dict[str, object]) -> str:
    """Send a message whose payload is kept; its id."""
    async with System(resolve_target(config=folder, environ={})) as system:
        await system.policy.change(
            lambda document: msgspec.structs.replace(document, audit_payloads={"kept.law": ""})
        )
        return (await messages.send(system, "calculator", "kept.law", {"kept": True, **more})).message_id


MESSAGES = {
    *("bus replay", "topic publish"),
    *("send", "request", "leader resign", "task assign", "task cancel", "task retry"),
    *("consensus open", "consensus vote", "consensus close", "event emit", "event replay"),
}
"""They write messages, which have records of their own."""
CHANGES = [
    entry
    for entry in SYSTEM
    if entry.impact != "read"
    and entry.name not in MESSAGES
    and "--dry-run" not in SYSTEM_CALLS.get(entry.name, ())
]


@pytest.mark.parametrize("entry", CHANGES, ids=lambda entry: entry.name.replace(" ", "-"))
def test_s5_every_command_that_changes_something_is_recorded(entry: Command, system_call, capfd):
    """With who did it and the command line, once it began and once it was done (S5)."""
    words = system_call(entry)
    if entry.name == "agent resume":
        assert app.main(["agent", "pause", "sleeper"]) == 0
    assert app.main(words) == 0

    async def recorded() -> set[str]:
        async with System(resolve_target(config=Path.cwd(), environ={})) as system:
            for _ in range(500):
                found = [
                    item.record
                    async for item in audit.records(system, audit.AuditFilter(kind="operator"))
                    if str(item.record.details.get("command", "")).startswith(f"mas {entry.name} ")
                    or item.record.details.get("command") == f"mas {entry.name}"
                ]
                if any(record.decision in {"done", "failed"} for record in found):
                    return {record.decision for record in found if record.actor}
                await asyncio.sleep(0.01)
        return set()

    assert asyncio.run(recorded()) >= {"begun", "done"}


@system_commands
def test_json_parses_for_every_system_command(entry: Command, system_call, capfd):
    """With colour forced, in a pipe; and on an error standard output stays empty."""
    words = system_call(entry)
    capfd.readouterr()

    assert app.main([*words, "-o", "json", "--color=always"]) == 0
    out = capfd.readouterr().out
    if entry.name == "watch":
        # a stream: one object a line, here none
        assert out == ""
    else:
        json.loads(out)

    for failing in (["--no-such-flag"], ["--url", "redis://127.0.0.1:1", *SYSTEM_CALLS[entry.name]]):
        assert app.main([*entry.name.split(), *failing, "-o", "json"]) in {2, 3}
        captured = capfd.readouterr()
        assert captured.out == ""
        assert json.loads(captured.err.splitlines()[-1])["error"]["exit"] in {2, 3}


@pytest.mark.parametrize("format_", ["jsonl", "yaml", "csv", "name", "table"])
@system_commands
def test_every_format_works_for_every_system_command(entry: Command, format_, system_call, capfd):
    """Lines are objects, documents are YAML, and nothing that a terminal would obey is written."""
    words = system_call(entry)
    capfd.readouterr()

    assert app.main([*words, "-o", format_, "--color=never"]) == 0
    out, err = capfd.readouterr()
    assert not OBEYED.search(out + err)
    if format_ == "yaml":
        list(yaml.safe_load_all(out))
    elif format_ == "jsonl":
        for line in out.splitlines():
            json.loads(line)


def hostile_call(entry: Command) -> list[str]:
    """A call of this shape with every argument that is no flag, and every value of a flag, a hostile text."""
    words = [word if word.startswith("-") else HOSTILE for word in SYSTEM_CALLS[entry.name]]
    return [*entry.name.split(), *words]


@system_commands
@pytest.mark.usefixtures("system_call")
def test_s28_no_command_obeys_what_it_is_given(entry: Command, capfd):
    """As id, type, capability, path and time: a documented exit code, and nothing that a terminal would obey."""
    for format_ in ("table", "json"):
        capfd.readouterr()
        code = app.main([*hostile_call(entry), "-o", format_, "--color=never", "--timeout", "5s"])
        out, err = capfd.readouterr()

        assert code in exit_codes(entry)
        assert code != 70
        assert not OBEYED.search(out + err)


@pytest.mark.parametrize("entry", [e for e in COMMANDS if e.name in RUNNING], ids=lambda entry: entry.name)
@pytest.mark.usefixtures("system_call")
def test_what_runs_fails_as_documented(entry: Command, capfd):
    """Without a server, as JSON, with nothing on standard output."""
    capfd.readouterr()
    place = {"up": ["--dir", "nowhere"], "down": ["--dir", "nowhere"]}
    words = place.get(entry.name, ["--url", "redis://127.0.0.1:1"])
    names = RUNNING_CALLS.get(entry.name, [])

    code = app.main([*entry.name.split(), *names, *words, "-o", "json"])

    out, err = capfd.readouterr()
    assert code != 70
    assert code in exit_codes(entry)
    assert out == ""
    assert json.loads(err.splitlines()[-1])["error"]["exit"] == code


@pytest.mark.usefixtures("system_call")
def test_s28_what_an_agent_says_of_its_failure_is_text(capfd):
    """The error of a handler, in every format."""
    for format_ in ("table", "json"):
        capfd.readouterr()
        words = ["request", "calculator", "text.fail", "@cruel.json", "-o", format_, "--color=never"]
        assert app.main(words) in {1, 2}
        out, err = capfd.readouterr()
        assert out == ""
        assert not OBEYED.search(err)


@pytest.mark.parametrize("entry", [e for e in SYSTEM if e.impact != "read"], ids=lambda entry: entry.name)
def test_nothing_is_changed_when_read_only(entry: Command, system_call, capfd):
    """Not even looked at: the server need not be there."""
    words = [*system_call(entry), "--read-only", "--url", "redis://127.0.0.1:1", "-o", "json"]
    capfd.readouterr()

    assert app.main(words) == 2
    assert json.loads(capfd.readouterr().err)["error"]["code"] == "read_only"


@pytest.mark.parametrize(
    "entry",
    [e for e in COMMANDS if e.scope == "system" and e.impact != "read"],
    ids=lambda entry: entry.name.replace(" ", "-"),
)
@pytest.mark.usefixtures("system_call")
def test_nothing_is_changed_in_a_read_only_context(entry: Command, running_project, capfd):
    """Whatever the command, those that run or end something too; nothing is looked at before."""
    assert app.main(["context", "add", "ro", "--project", str(running_project), "--no-writes"]) == 0
    words = [*entry.name.split(), *(SYSTEM_CALLS | RUNNING_CALLS).get(entry.name, ())]
    capfd.readouterr()

    assert app.main([*words, "--context", "ro", "-o", "json"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == "read_only"


@pytest.mark.parametrize(
    "entry", [entry for entry in SYSTEM if entry.impact == "destroy"], ids=lambda entry: entry.name
)
def test_nothing_of_a_system_is_destroyed_without_a_yes(entry: Command, system_call, capfd):
    """No terminal and no flag: exit 2, at once, and nothing changed; with --yes no question."""
    words = system_call(entry)
    call = [word for word in words if word != "--yes"]
    capfd.readouterr()

    assert app.main(call) == 2
    assert "--yes" in capfd.readouterr().err
    assert app.main([*call, "-o", "json"]) == 2
    assert app.main(words) == 0
