"""Operators: who they prove to be, what their roles permit by real commands, and what is recorded of it."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
from pathlib import Path

import msgspec
import pytest
from support.running_system import running_system

from mas_cli.command_table import COMMANDS
from mas_cli.connection import admitted
from mas_cli.input.shared_flags import SharedFlags
from mas_cli.invocation import invocation
from mas_cli.operator_permissions import row_of
from mas_core.errors import InternalError, RoleForbidden
from mas_core.model.operator_entry import OperatorEntry
from mas_core.model.operators import GRANTS, PERMISSIONS, ROLES, WRITES
from mas_core.ops import agents, audit, operators, rbac, state
from mas_core.ops.audit_questions import note_question
from mas_core.ops.standings import set_standing
from mas_core.ops.system import System
from mas_core.settings.target import resolve_target
from mas_core.store.store import Store

GUIDE = Path(__file__).parents[2] / "docs" / "operators.md"
PAGE = Path(__file__).parents[2] / "docs" / "operator-roles.md"


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory):
    """A running project with an operator of each role, who is called like the role."""
    from mas_cli import app

    with running_system(tmp_path_factory.mktemp("staffed") / "demo") as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            for role in ROLES:
                assert app.main(["operator", "add", f"the-{role}", "--role", role]) == 0
        finally:
            os.chdir(before)
        yield folder


@pytest.fixture
def act_as(staffed: Path, monkeypatch: pytest.MonkeyPatch):
    """From here on commands are those of an operator, who has the file and the URL of the server alone."""
    url = resolve_target(config=staffed).url
    namespace = resolve_target(config=staffed).namespace

    def become(name: str) -> None:
        from mas_cli import app

        monkeypatch.chdir(Path.home().parent / "work")
        file = str(staffed / f"{name}.operator")
        words = ["context", "add", name, "--url", url, "--namespace", namespace, "--operator", file]
        assert app.main([*words, "--replace"]) == 0
        assert app.main(["context", "select", name]) == 0

    return become


def recorded(mas, staffed, *words: str) -> list[dict]:
    """Records of the audit, as the owner sees them."""
    ran = mas("--config", str(staffed), "audit", "list", "-o", "json", *words)
    assert ran.code == 0, ran.err
    return ran.json


def published() -> dict[str, dict[str, bool]]:
    """Command -> role -> whether it may, as the documentation says."""
    rows = re.findall(r"^\| `mas ([^`]+)` \| `\w+` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return {
        name: dict(zip(ROLES, (cell == "yes" for cell in cells.split(" | ")), strict=True))
        for name, cells in rows
    }


def test_every_command_has_its_row():
    """No command is left to the rule for those that nobody thought of, and no row is about none."""
    missing = [item.name for item in COMMANDS if item.scope == "system" and not row_of(item)]
    granted = frozenset().union(*GRANTS.values())

    assert missing == []
    assert set(published()) == {item.name for item in COMMANDS if item.scope == "system"}
    assert granted == set(PERMISSIONS) - {"own"}


async def test_s5_the_published_table_is_what_every_role_gets(staffed):
    """Each command with each role, on a real system: permitted or refused as the documentation says."""
    said, wrong = published(), []
    for role in ROLES:
        target = resolve_target(
            config=staffed, environ={"MAS_OPERATOR": str(staffed / f"the-{role}.operator")}
        )
        async with System(target) as system:
            for command in COMMANDS:
                if command.scope == "local":
                    continue
                try:
                    async with admitted(
                        system, invocation(command, SharedFlags(config=str(staffed))), target
                    ):
                        found = True
                except RoleForbidden:
                    found = False
                if found is not said[command.name][role]:
                    wrong.append((role, command.name, found))
    assert wrong == []


REFUSED = {
    "the-viewer": [
        "send calculator text.echo",
        "agent pause calculator",
        "rbac allow a b",
        "audit list",
        "state get calculator",
        "dlq drop 1-0 --yes",
        "operator list",
    ],
    "the-operator": [
        "rbac allow calculator sleeper",
        "limit set calculator --per-minute 1",
        "agent register mallory",
        "agent token rotate calculator",
        "audit list",
        "policy set dlp off",
        "operator add me2 --role security",
    ],
    "the-security": [
        "approval approve 0-1",
        "agent pause calculator",
        "state get calculator",
        "task list",
        "audit list",
        "backup create",
        "gateway drain --all",
        "operator role set the-security operator",
    ],
    "the-auditor": ["status", "agent list", "rbac list", "send calculator text.echo", "check", "down"],
}


@pytest.mark.parametrize("name", REFUSED)
def test_s5_what_a_role_does_not_permit_is_refused_and_recorded(mas, staffed, act_as, name):
    """Exit code 5, a reason that names role and permission, and a record with the operator's name."""
    act_as(name)
    for line in REFUSED[name]:
        words = line.split()
        ran = mas(*words, "-o", "json")
        assert (ran.code, ran.error["code"], ran.out) == (5, "role_forbidden", ""), line
        assert ran.error["details"]["operator"] == name

    found = []
    while len(found) < len(REFUSED[name]):
        found = recorded(mas, staffed, "--decision", "denied", "--actor", name)
    commands = {item.name.replace(" ", ".") for item in COMMANDS}
    assert {row["type"] for row in found} <= commands
    assert all(row["details"]["role"] == name.removeprefix("the-") for row in found)
    assert "takes the permission" in found[0]["reason"]
    who = {
        "see": "viewer, operator and security have it",
        "open": "operator has it",
        "operate": "operator has it",
        "secure": "security has it",
        "evidence": "auditor has it",
        "own": "only the owner of the gateway's keys has it",
    }
    for row in found:
        needed = row["reason"].partition("the permission ")[2].partition(",")[0]
        assert row["reason"].endswith(f"; {who[needed]}")


def test_what_roles_permit_works_with_their_files_alone(mas, staffed, act_as):
    """Nobody but the owner has the folder of keys: the file of a role holds what its commands need."""
    act_as("the-viewer")
    assert mas("status").code == 0
    assert any(row["id"] == "calculator" for row in mas("agent", "list", "-o", "json").json)
    assert mas("bus", "inspect", "sleeper").code == 0

    act_as("the-security")
    assert mas("rbac", "deny", "outsider", "notebook", "--reason", "s5").code == 0
    assert mas("agent", "register", "hired", "--show").code == 0

    act_as("the-operator")
    assert mas("agent", "pause", "hired").code == 0
    assert mas("state", "list").code == 0
    assert mas("task", "list").code == 0

    act_as("the-auditor")
    assert mas("audit", "verify").code == 0
    assert mas("operator", "list", "-o", "name").out.split() == sorted(f"the-{role}" for role in ROLES)

    rows = []
    while {"the-security", "the-operator", "the-auditor"} - {row["actor"] for row in rows}:
        rows = recorded(mas, staffed)
    acts = {(row["actor"], row["type"], row["decision"]) for row in rows}
    assert ("the-security", "agent.register", "done") in acts
    assert ("the-operator", "standing.paused", "done") in acts
    assert ("the-auditor", "audit.verify", "asked") in acts


def test_s5_the_owner_is_bound_by_the_role_of_an_operator_who_was_named(mas, staffed, monkeypatch):
    """Also in the folder with the whole keys: whoever names an operator acts as that one."""
    monkeypatch.chdir(staffed)
    assert mas("limit", "list").code == 0
    monkeypatch.setenv("MAS_OPERATOR", "the-auditor.operator")
    assert mas("limit", "list").code == 5
    assert mas("up", "--detach").code == 5
    monkeypatch.setenv("MAS_OPERATOR", "the-security.operator")
    issued = mas("cert", "issue", "the-operator", "--for", "operator", "--out", "stolen.pem", "-o", "json")
    assert (issued.code, issued.error["code"]) == (5, "role_forbidden")
    monkeypatch.setenv("MAS_OPERATOR", "env:FILE_OF_ANN")
    assert mas("limit", "list").code == 2
    monkeypatch.setenv("FILE_OF_ANN", (staffed / "the-viewer.operator").read_text())
    assert mas("limit", "list").code == 0


def test_s5_without_a_name_without_keys_and_with_a_spoilt_file_nothing_is_done(
    mas, staffed, act_as, tmp_path
):
    """Nobody, a file of somebody else's system, a changed name, a file open to others: each is refused."""
    act_as("the-viewer")
    target = resolve_target(config=staffed)
    assert mas("context", "add", "bare", "--url", target.url, "--namespace", target.namespace).code == 0
    nobody = mas("--context", "bare", "audit", "list", "-o", "json")
    assert (nobody.code, nobody.error["code"]) == (5, "operator_unknown")
    credential = json.loads((staffed / "the-viewer.operator").read_text())
    forged = tmp_path / "forged.operator"
    for changed, code in (
        ({"operator": "the-security"}, "token_revoked"),
        ({"operator": "somebody"}, "operator_unknown"),
        ({"role": "security"}, None),
        ({"keys": {}}, "role_forbidden"),
        ({"token": "mas_x"}, "configuration"),
    ):
        forged.unlink(missing_ok=True)
        forged.touch(mode=0o600)
        forged.write_text(json.dumps(credential | changed))
        words = ["context", "add", "bare", "--replace", "--url", target.url, "--namespace", target.namespace]
        assert mas(*words, "--operator", str(forged)).code == 0
        ran = mas("--context", "bare", "rbac", "allow", "calculator", "sleeper", "-o", "json")
        assert ran.code in (2, 5), changed
        assert code is None or ran.error["code"] == code, changed
        if changed == {"role": "security"}:
            assert ran.error["details"]["role"] == "viewer"
    forged.chmod(0o644)
    assert mas("--context", "bare", "status", "-o", "json").error["code"] == "secret_unavailable"


def test_s5_an_expired_a_replaced_and_a_removed_operator_is_refused(mas, staffed, act_as, monkeypatch):
    """Each from the next command on, also with a file that was good before."""
    owner = ("--config", str(staffed))
    file = staffed / "ann.operator"
    assert mas(*owner, "operator", "add", "ann", "--role", "viewer", "--out", str(file)).code == 0
    assert mas(*owner, "operator", "add", "ann", "--role", "viewer", "--out", f"{file}2").code == 7
    assert mas(*owner, "operator", "add", "eve", "--role", "viewer", "--out", str(file)).code == 7
    assert mas(*owner, "operator", "role", "set", "nobody", "viewer").code == 6
    act_as("ann")
    assert mas("status").code == 0

    old = file.read_text()
    words = ("operator", "token", "rotate", "ann", "--out", str(file))
    assert mas(*owner, *words).code == 0
    assert mas("status").code == 0
    monkeypatch.setenv("OLD", old)
    monkeypatch.setenv("MAS_OPERATOR", "env:OLD")
    assert mas("status", "-o", "json").error["code"] == "token_revoked"
    monkeypatch.delenv("MAS_OPERATOR")

    assert mas(*owner, "operator", "role", "set", "ann", "auditor").code == 0
    assert (mas("status").code, mas("audit", "count", "--by", "kind").code) == (5, 0)

    assert mas(*owner, *words, "--expires", "1ms").code == 0
    assert mas("audit", "count", "--by", "kind", "-o", "json").error["code"] == "token_expired"
    assert mas(*owner, "operator", "remove", "ann").code == 2
    assert mas(*owner, "operator", "remove", "ann", "--yes").code == 0
    assert mas("audit", "count", "--by", "kind", "-o", "json").error["code"] == "operator_unknown"
    assert mas(*owner, "operator", "remove", "ann", "--yes").code == 6


def test_every_write_is_thought_of():
    """What operations write takes a permission of some role, or is known to be the owner's."""
    sources = [path.read_text() for path in (Path(__file__).parents[2] / "mas_core").rglob("*.py")]
    written = {name for text in sources for name in re.findall(r"\.writing\(\s*\"([^\"]+)\"", text)}

    assert written - set(WRITES) == {"policy", "audit key", "backup", "layout"}


def test_s5_an_operator_is_known_by_a_certificate(mas, staffed, act_as, monkeypatch):
    """File and certificate together, neither alone; acts are recorded by name; revoked it counts no more."""
    owner = ("--config", str(staffed))
    file, chain, other = (str(staffed / name) for name in ("cora.operator", "cora.pem", "mona.pem"))
    none = mas(
        *owner, "operator", "add", "cora", "--role", "security", "--certificate", "--out", file, "-ojson"
    )
    assert (none.code, none.error["hint"][0]) == (2, "mas cert ca")
    assert mas(*owner, "cert", "ca").code == 0
    assert (
        mas(*owner, "operator", "add", "cora", "--role", "security", "--certificate", "--out", file).code == 0
    )
    for name, path in (("cora", chain), ("mona", other)):
        assert mas(*owner, "cert", "issue", name, "--for", "operator", "--out", path).code == 0

    act_as("cora")
    assert mas("limit", "list", "-o", "json").error["code"] == "operator_unknown"
    monkeypatch.setenv("MAS_OPERATOR_CERT", other)
    assert mas("limit", "list", "-o", "json").error["code"] == "certificate_refused"
    monkeypatch.setenv("MAS_OPERATOR_CERT", chain)
    assert mas("limit", "set", "sleeper", "--per-minute", "77").code == 0
    assert mas("audit", "list").code == 5
    done: list[str] = []
    while not done:
        done = [row["type"] for row in recorded(mas, staffed, "--actor", "cora") if row["decision"] == "done"]
    assert done == ["limit.set"]

    monkeypatch.delenv("MAS_OPERATOR_CERT")
    assert mas(*owner, "cert", "revoke", "--file", chain, "--yes").code == 0
    monkeypatch.setenv("MAS_OPERATOR_CERT", chain)
    refused = mas("limit", "list", "-o", "json")
    assert (refused.code, refused.error["details"]["reason"]) == (5, "revoked")


READING = {
    "the-viewer": [
        *("status", "agent list", "agent describe calculator", "rbac list", "limit list", "bus status"),
        *("bus inspect sleeper", "dlq list", "schedule list", "approval list", "gateway status", "metrics"),
        *("watch --for 10ms", "check server"),
    ],
    "the-auditor": ["audit list --limit 1", "audit verify", "audit count", "audit get 1", "operator list"],
}


def test_s5_with_a_user_of_the_server_that_only_reads_nothing_can_be_changed(
    mas, staffed, act_as, monkeypatch
):
    """The user that the documentation names is enough for viewers and auditors, and for nothing else."""
    line = re.search(r"^ACL SETUSER vera .*$", GUIDE.read_text(), re.MULTILINE)
    assert line is not None
    target = resolve_target(config=staffed, environ={})
    words = line[0].replace("mas:", f"{target.namespace}:").replace("PASSWORD", "secret")
    url = re.sub("//[^@/]*@", "//vera:secret@", target.url)

    async def made() -> None:
        async with System(target) as owner:
            await owner.store.connection.call(*_words_of(words))

    async def tried(*command: str) -> str:
        store = Store(url, namespace=target.namespace, partitions=target.partitions)
        try:
            return str(await store.connection.call(*command))
        except InternalError as error:
            return error.message
        finally:
            await store.close()

    asyncio.run(made())
    for name, lines in READING.items():
        act_as(name)
        monkeypatch.setenv("MAS_OPERATOR", str(staffed / f"{name}.operator"))
        for said in lines:
            ran = mas("--url", url, *said.split())
            assert ran.code == 0, (said, ran.err)
    monkeypatch.delenv("MAS_OPERATOR")
    assert mas("--config", str(staffed), "redis-users", "apply").code == 0
    monkeypatch.setenv("MAS_OPERATOR", str(staffed / "the-auditor.operator"))
    login = (staffed / ".mas" / "keys" / "server-users" / "auditor").read_text().strip()
    for said in READING["the-auditor"]:
        ran = mas("--url", re.sub("//[^@/]*@", f"//{login}@", target.url), *said.split())
        assert ran.code == 0, (said, ran.err)
    # With the keys of the owner no role forbids it, and the server does: that is no bug.
    monkeypatch.delenv("MAS_OPERATOR")
    monkeypatch.setenv("MAS_URL", re.sub("//[^@/]*@", f"//{login}@", target.url))
    monkeypatch.chdir(staffed)
    ran = mas("status", "-o", "json")
    assert (ran.code, ran.error["code"]) == (5, "store_forbidden"), ran.err
    assert "may not do this" in ran.error["message"]
    monkeypatch.delenv("MAS_URL")
    policy, state_of = f"{target.namespace}:policy", f"{target.namespace}:{{0}}:state:calculator"
    for command in (
        ("HSET", policy, "document", "{}"),
        ("DEL", policy),
        ("HGETALL", state_of),
        ("CONFIG", "GET", "requirepass"),
        ("XTRIM", f"{target.namespace}:{{0}}:operator", "MAXLEN", "0"),
        ("EVAL", "return redis.call('DEL', KEYS[1])", "1", policy),
    ):
        assert "NOPERM" in asyncio.run(tried(*command)), command


def _words_of(line: str) -> list[str]:
    """The arguments of a command; one in brackets counts as one."""
    return re.findall(r"\([^)]*\)|\S+", line)


async def test_s5_nobody_acts_in_the_name_of_another(staffed):
    """With the keys of a role and the server, the log takes anything; the gateway records whose it is."""
    viewer = resolve_target(config=staffed, environ={"MAS_OPERATOR": str(staffed / "the-viewer.operator")})
    async with System(viewer) as theirs, System(resolve_target(config=staffed, environ={})) as owner:
        now = await owner.store.connection.time_ms()
        made = theirs.access.signer
        assert made is not None
        forged = {}
        for number, actor in enumerate(("the-security", "root@laptop", "nobody", "the-viewer")):
            entry = OperatorEntry(f"forged-{now}-{number}", "o", "done", now, "forged.act", actor)
            text = forged[actor] = msgspec.json.encode(entry)
            await owner.store.records.add_operator_entry(text, made.sign(text))
        with_macs = msgspec.json.encode(
            OperatorEntry(f"{now}-m", "o", "done", now, "forged.act", "root@laptop")
        )
        proof = hmac.digest(theirs.keys.mac_key, b"operator\x00" + with_macs, "sha256")
        await owner.store.records.add_operator_entry(with_macs, proof)
        while await owner.store.records.unrecorded_operator_entries():
            await asyncio.sleep(0.01)
        records = [item.record async for item in audit.records(owner)]
    assert [item.actor for item in records if item.type == "forged.act"] == ["the-viewer"]
    claimed = [
        item.details["claimed"]["actor"]
        for item in records
        if item.decision == "unauthenticated"
        and item.details.get("claimed", {}).get("action") == "forged.act"
    ]
    assert sorted(claimed) == ["nobody", "root@laptop", "root@laptop", "the-security"]


async def test_s5_operations_refuse_what_commands_refuse(staffed):
    """A program that calls the operations itself is bound by the role too, down to the field of the policy."""

    async def opened(name: str) -> System:
        target = resolve_target(config=staffed, environ={"MAS_OPERATOR": str(staffed / f"{name}.operator")})
        return System(target)

    async with await opened("the-operator") as system:
        with pytest.raises(RoleForbidden, match="rules"):
            await rbac.add_rules(system, "allow", "calculator", ["sleeper"])
        with pytest.raises(RoleForbidden, match="registry"):
            await agents.register(system, "sneaky")
        await set_standing(system, ["sleeper"], "paused")
        await set_standing(system, ["sleeper"], "active")
    async with await opened("the-security") as system:
        with pytest.raises(RoleForbidden, match="standings"):
            await set_standing(system, ["sleeper"], "paused")
        with pytest.raises(RoleForbidden):
            await state.get(system, "calculator")
        with pytest.raises(RoleForbidden):
            await operators.add(system, "friend", "operator", staffed / "friend.operator")
    async with await opened("the-viewer") as system:
        await note_question(system, "watch")
        with pytest.raises(RoleForbidden, match="evidence"):
            await note_question(system, "audit.list")
