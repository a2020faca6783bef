"""`mas doctor` and `mas check`: what they find, what they mend, and how they end."""

import asyncio
import json
import re
import zipfile
from pathlib import Path

import pytest

from mas_core.ops.checks.table import CHECKS
from mas_core.ops.system import System
from mas_core.settings.private_files import write_private
from mas_core.settings.project import project_at
from mas_core.settings.target import resolve_target


@pytest.fixture
def inside(running_project, monkeypatch):
    """In the folder of the running system."""
    monkeypatch.chdir(running_project)
    monkeypatch.setenv("SHELL", "/bin/bash")
    return running_project


async def _run(folder, *commands):
    async with System(resolve_target(config=folder, environ={})) as system:
        for command in commands:
            await system.store.connection.call(*command)


def on_server(folder, *commands):
    """Run commands on the server of the running system."""
    asyncio.run(_run(folder, *commands))


def test_doctor_looks_at_everything_and_each_trouble_has_a_command(mas, inside):
    """1 when one is wrong, with a line of every check; what is not well says what to type."""
    ran = mas("doctor", "-o", "json")

    assert ran.code == any(item["status"] == "red" for item in ran.json)
    assert {item["check"] for item in ran.json} == {check.name for check in CHECKS}
    assert all(item["fix"] for item in ran.json if item["status"] != "ok")
    (line,) = [item for item in ran.json if item["check"] == "completion"]
    assert (line["sign"], line["fix"]) == ("!", "mas completion install bash")


def test_s42_doctor_tells_of_files_that_others_can_read_and_closes_them(mas, inside):
    """A token open to the world is wrong; --fix closes it and says how to undo that (S42)."""
    token = inside / ".mas" / "tokens" / "operator.token"
    token.chmod(0o644)

    found = mas("doctor", "--only", "files", "-o", "json")
    refused = mas("doctor", "--only", "files", "--fix", "--read-only")
    still = token.stat().st_mode & 0o777
    mended = mas("doctor", "--only", "files", "--fix")

    assert (found.code, found.json[0]["status"]) == (1, "red")
    assert str(token) in found.json[0]["fix"]
    assert (refused.code, still) == (2, 0o644)
    assert mended.code == 0
    assert f"chmod 644 {token}" in mended.err
    assert token.stat().st_mode & 0o777 == 0o600


def test_doctor_installs_completions(mas, inside, home):
    """What it says is missing is there after --fix."""
    ran = mas("doctor", "--only", "completion", "--fix", "-o", "json")

    assert ran.json[0]["status"] == "ok"
    assert "complete -F" in (home / ".local/share/bash-completion/completions/mas").read_text()


def test_doctor_finds_a_server_that_evicts_flushes_too_late_and_has_open_users(mas, inside):
    """What the server would lose, a user without a password, an agent's user that writes, a key that stays."""
    on_server(
        inside,
        ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
        ("CONFIG", "SET", "appendonly", "no"),
        ("ACL", "SETUSER", "anybody", "on", "nopass", "+ping"),
        ("ACL", "SETUSER", "mas-agent-rogue", "on", ">secret", "~*", "+xadd"),
        ("SET", "mas:{0}:limit:rogue:minute", "1"),
    )
    try:
        ran = mas("doctor", "-o", "json")
        measured = mas("check", "expiry", "-o", "json")
    finally:
        on_server(
            inside,
            ("CONFIG", "SET", "maxmemory-policy", "noeviction"),
            ("CONFIG", "SET", "appendonly", "yes"),
            ("ACL", "DELUSER", "anybody", "mas-agent-rogue"),
            ("DEL", "mas:{0}:limit:rogue:minute"),
        )

    wrong = {(item["check"], item["status"]) for item in ran.json if item["status"] != "ok"}
    users = " ".join(item["message"] for item in ran.json if item["check"] == "users")
    assert ran.code == 1
    assert {("eviction", "red"), ("persistence", "red"), ("users", "red"), ("expiry", "warn")} <= wrong
    assert "anybody of the server needs no password" in users
    assert "mas-agent-rogue of the server may write inboxes" in users
    assert measured.json[0]["value"] == 1


def test_doctor_is_of_use_where_nothing_runs(mas, home):
    """A project that is missing, or one that does not run, is a line with the way out."""
    nowhere = mas("doctor", "-o", "json")
    mas("init", "demo")
    stopped = mas("doctor", "-o", "json", "--config", "demo")

    fixes = [{item["check"]: item["fix"] for item in ran.json}["server"] for ran in (nowhere, stopped)]
    assert (nowhere.code, stopped.code) == (1, 1)
    assert fixes == ["mas init DIR", "mas up"]


def test_doctor_names_a_spec_that_cannot_be_used_and_a_context_that_leads_nowhere(mas, tmp_path):
    """With the place in the file, and the command that removes the context."""
    mas("init", "demo")
    mas("context", "add", "lost", "--url", "redis://h", "--keys-dir", str(tmp_path / "gone"))
    (tmp_path / "work" / "demo" / "agents.d" / "bad.yaml").write_text("agent_id: BAD!\n")

    ran = mas("doctor", "--only", "specs", "--only", "contexts", "--config", "demo", "-o", "json")

    by_check = {item["check"]: item for item in ran.json}
    assert ran.code == 1
    assert "bad.yaml:1" in by_check["specs"]["message"]
    assert by_check["contexts"]["fix"] == "mas context remove lost"


@pytest.mark.parametrize(
    ("limits", "code", "word"),
    [
        (("--warn", "1000000", "--crit", "2000000"), 0, "OK"),
        (("--warn", "0", "--crit", "2000000"), 1, "WARNING"),
        (("--crit", "0"), 2, "CRITICAL"),
    ],
)
def test_check_ends_as_nagios_wants_with_that_format_only(mas, inside, limits, code, word):
    """0, 1 and 2 with performance data; as text a warning is 0 and a failure 1."""
    ran = mas("check", "backlog", *limits, "--format", "nagios")
    text = mas("check", "backlog", *limits)

    assert ran.code == code
    assert re.match(rf"MAS {word} - backlog: \d+ messages wait for agents.* \| backlog=\d+;", ran.out)
    assert text.code == (1 if code == 2 else 0)


def test_check_that_cannot_find_out_is_unknown_to_nagios_and_3_or_6_to_all_others(mas, inside):
    """A server that does not answer, and a check that does not exist."""
    away = ("--url", "redis://127.0.0.1:1")

    assert (mas("check", *away).code, mas("check", "lga").code) == (3, 6)
    assert "mas check lag" in mas("check", "lga").err
    for words in (("agents", *away), ("lga",), ("lag", "gateway", "--warn", "1")):
        ran = mas("check", *words, "--format", "nagios")
        assert (ran.code, ran.out.startswith("MAS UNKNOWN - ")) == (3, True)


def test_check_speaks_prometheus_and_json(mas, inside):
    """One status for each check and one value for each that measures; JSON has every finding."""
    text = mas("check", "--format", "prometheus").out
    rows = mas("check", "lag", "redis", "--format", "json").json

    assert len(re.findall(r'^mas_check_status\{check="[a-z-]+"\} [012]$', text, re.MULTILINE)) == len(CHECKS)
    assert re.search(r'^mas_check_value\{check="lag"\} [0-9.e-]+$', text, re.MULTILINE)
    assert [row["check"] for row in rows] == ["server", "lag"]
    assert rows[1]["crit"] == 600
    assert rows[1]["findings"][0]["status"] == rows[1]["status"]


def test_check_counts_what_is_missing(mas, inside):
    """An agent that should run and does not fails, and the first line of Nagios names it."""
    spec = inside / "agents.d" / "absent.yaml"
    spec.write_text("agent_id: absent\nexec: [cat]\n")
    try:
        ran = mas("check", "agents", "--format", "nagios")
    finally:
        spec.unlink()

    assert ran.code == 2
    assert ran.out.startswith("MAS CRITICAL - agents: ")
    assert (
        "CRITICAL agents: agent absent: is not registered - try: mas agent run absent" in ran.out.splitlines()
    )


def test_s7_a_bundle_has_what_support_needs_and_no_secret(mas, inside, tmp_path):
    """Each file is listed before; nothing of keys, tokens and passwords is in any of them (S7)."""
    path = tmp_path / "support.zip"
    config = inside / "mas.yaml"
    secrets = {
        line.strip()
        for folder in ("keys", "tokens")
        for file in (inside / ".mas" / folder).rglob("*")
        if file.is_file()
        for line in file.read_text().splitlines()
    }
    token = (inside / ".mas" / "tokens" / "operator.token").read_text().strip()
    before = config.read_text()
    log = inside / ".mas" / "logs" / "gateway.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"token={token} redis://me:hunter22@host/0 api_key: short-one\nplain {token[5:]}\n")
    config.write_text(f"{before}\n# {token}\n# redis://:hunter22@host/0\n")
    try:
        ran = mas("doctor", "--bundle", str(path), "--yes")
    finally:
        config.write_text(before)
        log.unlink()

    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    text = "\n".join(files.values())
    assert ran.code == 0
    assert {"doctor.json", "versions.json", "server.json", "health.json", "metrics.json"} <= files.keys()
    assert {
        "settings.json",
        "project/mas.yaml",
        "project/agents/hello.yaml",
        "logs/gateway.log",
    } <= files.keys()
    assert all(name in ran.err for name in files)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(secrets) > 5
    assert [secret for secret in secrets if secret and secret in text] == []
    assert "hunter22" not in text
    assert "short-one" not in text
    for name, found in files.items():
        if name.endswith(".json"):
            json.loads(found)


def test_a_bundle_is_asked_for_and_replaces_nothing(mas, inside, tmp_path):
    """Without a yes the list is shown and nothing written; a file that is there stays."""
    path, there = tmp_path / "support.zip", tmp_path / "there.zip"
    there.write_text("mine")

    unasked = mas("doctor", "--only", "contexts", "--bundle", str(path))
    taken = mas("doctor", "--only", "contexts", "--bundle", str(there), "--yes")

    assert (unasked.code, path.exists()) == (2, False)
    assert "doctor.json" in unasked.err
    assert (taken.code, there.read_text()) == (7, "mine")


def test_s42_doctor_tells_which_secrets_are_missing_or_in_the_clear(mas, monkeypatch):
    """With what to do about each, and without any of them."""
    assert mas("init", "demo").code == 0
    monkeypatch.chdir("demo")
    monkeypatch.delenv("OUR_KEY", raising=False)
    project = project_at(Path())
    project.config_path.chmod(0o644)
    (project.root / "agents.d" / "hello.yaml").write_text(
        "agent_id: hello\nexec: [cat]\nsecrets: {KEY: 'file:key'}\n"
    )
    with project.config_path.open("a") as settings:
        settings.write("url: redis://:hunter2-in-the-clear@127.0.0.1:1\nevents: {url: 'cmd:false'}\n")
    write_private(project.tokens_dir / "hello.token", b"env:OUR_KEY\n")

    ran = mas("doctor", "--only", "secrets", "-o", "json")

    told = [(line["status"], line["message"].partition(":")[0]) for line in ran.json]
    assert told == [
        ("warn", "url in mas.yaml holds a password"),
        ("red", "events.url"),
        ("warn", "hello.token"),
        ("red", "the secret KEY of hello"),
    ]
    assert all(line["fix"] for line in ran.json)
    assert "hunter2" not in ran.out + ran.err
    monkeypatch.setenv("OUR_KEY", "mas_token")
    write_private(project.root / "agents.d" / "key", b"of hello")
    project.config_path.write_text("name: demo\n")
    (line,) = mas("doctor", "--only", "secrets", "-o", "json").json
    assert (line["status"], line["message"]) == ("ok", "2 references lead to secrets")


def test_s42_doctor_runs_no_program_that_others_could_have_named(mas, monkeypatch, tmp_path):
    """A spec or a mas.yaml that others can change is not followed."""
    assert mas("init", "demo").code == 0
    monkeypatch.chdir("demo")
    mark = tmp_path / "got-in"
    spec, settings = Path("agents.d/hello.yaml"), Path("mas.yaml")
    spec.write_text(f"agent_id: hello\nexec: [cat]\nsecrets: {{KEY: 'cmd:touch {mark}'}}\n")
    settings.write_text(f"url: 'cmd:touch {mark}'\n")
    for path in (spec, settings):
        path.chmod(0o666)

    ran = mas("doctor", "--only", "secrets", "-o", "json")

    assert [line["status"] for line in ran.json] == ["red", "red"]
    assert [line["fix"] for line in ran.json] == [
        f"chmod go-w {path.absolute()}" for path in (settings, spec)
    ]
    assert not mark.exists()
