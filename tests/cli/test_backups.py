"""`mas backup`: files of a project whose server does not run, and what a person is told."""

import asyncio
import shutil

import pytest
from support.backups import members_of, write_members

from mas_core.ops import agents, state
from mas_core.ops.backup.stopped_server import stopped_server
from mas_core.ops.system import System
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.private_files import write_private
from mas_core.settings.project import project_at


async def fill(project):
    """Register two agents, one of them with a state."""
    GatewayKeys.load_or_create(project.keys_dir)
    async with stopped_server(project) as target, System(target) as system:
        await agents.register(system, "alice")
        await agents.register(system, "bob")
        await state.set_part(system, "bob", "n", 1)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that does not run."""
    (tmp_path / "mas.yaml").write_text("name: demo\nprofile: fast\n")
    monkeypatch.chdir(tmp_path)
    made = project_at(tmp_path)
    asyncio.run(fill(made))
    return made


def test_a_server_that_is_lost_comes_back(mas, project):
    """Made and put back while nothing runs; what is there is replaced only after a yes."""
    made = mas("backup", "create", "-o", "json")
    assert (made.code, made.json["agents"], made.json["states"], made.json["keys"]) == (0, 2, 1, False)
    assert "private keys and tokens are not in it" in made.err
    path = made.json["path"]
    (listed,) = mas("backup", "list", "-o", "json").json
    assert (listed["path"], listed["problem"]) == (path, "")
    checked = mas("backup", "verify", path, "-o", "json")
    assert (checked.code, {row["state"] for row in checked.json}) == (0, {"ok", "unchecked"})

    shutil.rmtree(project.root / ".mas" / "server")
    dry = mas("backup", "restore", path, "--dry-run", "-o", "json")
    assert (dry.code, sum(row["there"] for row in dry.json)) == (0, 0)
    name = path.rpartition("/")[2]
    done = mas("backup", "restore", name, "-o", "json")
    assert (done.code, {row["part"]: row["restored"] for row in done.json if row["restored"]}) == (
        0, {"agents": 2, "states": 1},
    )  # fmt: skip

    again = mas("backup", "restore", name, "-o", "json")
    assert (again.code, again.error["code"]) == (7, "conflict")
    assert again.error["hint"][-1] == f"mas backup restore {name} --force"
    unsure = mas("backup", "restore", name, "--force")
    assert (unsure.code, "--confirm mas" in unsure.err) == (2, True)
    forced = mas("backup", "restore", name, "--force", "--yes", "--without", "states", "-o", "json")
    assert (forced.code, {row["part"]: row["left"] for row in forced.json}["states"]) == (0, 1)
    assert len(mas("backup", "list", "-o", "json").json) == 2
    assert mas("backup", "restore", name, "--without", "all").code == 2


def test_keys_go_along_on_demand_and_encrypted(mas, project, tmp_path):
    """A new machine has nothing but mas.yaml, the file and the passphrase; the old tokens are back."""
    phrase = write_private(tmp_path / "phrase", b"correct horse battery\n")
    path, token = str(tmp_path / "one.zip"), (project.tokens_dir / "alice.token").read_bytes()
    assert mas("backup", "create", "--keys", "--out", path).code == 2
    assert mas("backup", "create", "--passphrase-file", str(phrase), "--out", path).code == 2
    made = mas("backup", "create", "--keys", "--passphrase-file", str(phrase), "--out", path, "-o", "json")
    assert (made.code, made.json["keys"]) == (0, True)
    content = b"".join(members_of(tmp_path / "one.zip").values())
    assert token.strip() not in content
    assert (project.keys_dir / "gateway.key").read_bytes().strip() not in content
    assert mas("backup", "create", "--out", path, "-o", "json").error["code"] == "conflict"

    shutil.rmtree(project.root / ".mas")
    lost = mas("backup", "verify", path, "-o", "json")
    assert (lost.code, lost.error["code"]) == (2, "secret_unavailable")
    assert mas("backup", "verify", path, "--passphrase-file", str(phrase)).code == 0
    wrong = write_private(tmp_path / "wrong", b"another passphrase\n")
    refused = mas("backup", "restore", path, "--keys", "--passphrase-file", str(wrong), "-o", "json")
    assert (refused.code, refused.error["code"]) == (1, "backup_invalid")
    assert not (project.root / ".mas" / "keys" / "gateway.key").exists()
    assert mas("backup", "restore", path, "--keys", "--passphrase-file", str(phrase)).code == 0
    assert (project.tokens_dir / "alice.token").read_bytes() == token


def test_a_backup_that_was_edited_is_refused(mas, project, tmp_path):
    """By verify, by restore and in the list; a name that is none is not found."""
    path = tmp_path / "one.zip"
    assert mas("backup", "create", "--out", str(path)).code == 0
    members = members_of(path)
    members["states.jsonl"] = members["states.jsonl"].replace(b'"bob"', b'"eve"')
    spoiled = str(write_members(tmp_path / "two.zip", members))

    checked = mas("backup", "verify", spoiled, "-o", "json")
    assert (checked.code, [row["check"] for row in checked.json if row["state"] == "bad"]) == (1, ["states"])
    shutil.rmtree(project.root / ".mas" / "server")
    refused = mas("backup", "restore", spoiled, "-o", "json")
    assert (refused.code, refused.error["code"]) == (1, "backup_invalid")
    assert mas("backup", "restore", spoiled, "--dry-run").code == 1
    empty = mas("backup", "restore", str(path), "--dry-run", "-o", "json")
    assert (empty.code, sum(row["there"] for row in empty.json)) == (0, 0)
    assert mas("backup", "verify", "none.zip").code == 6
    assert mas("backup", "restore", "none.zip").code == 6
    assert mas("backup", "list", "--folder", str(tmp_path), "-o", "json").code == 0
