"""Files of backups that are not what was written: refused, bounded, and never unpacked to a path."""

import hashlib
import json
import tracemalloc
import zipfile

import msgspec
import pytest
from support.backups import members_of, remade, write_empty_backup, write_members

from mas_core.errors import BackupInvalid, Conflict, MasError, NotFound, SecretUnavailable, UsageError
from mas_core.model.dead_letter import LetterFacts, facts_purpose, seal_purpose
from mas_core.model.policy import PolicyDocument
from mas_core.model.registration import AgentKey, Registration
from mas_core.ops.backup import backup_file, sealed_keys
from mas_core.ops.backup.backup_file import BackupReader, BackupWriter
from mas_core.ops.backup.contents import (
    FORMAT,
    PARTS,
    VERSION,
    AgentLine,
    CircuitLine,
    DeadLine,
    LaterLine,
    Manifest,
    PartitionFacts,
    PolicyLine,
    StateLine,
)
from mas_core.ops.backup.files import find_backup, list_backups
from mas_core.ops.backup.sealed_keys import gateway_keys_in, open_keys, put_keys, read_passphrase, seal_keys
from mas_core.ops.backup.verify import verify
from mas_core.registry.signed import signed
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.settings.private_files import private_dir, write_private

PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def keys():
    """Of a system's gateways."""
    return GatewayKeys.generate()


def lines(keys):
    """One line of each kind, as a system of these keys writes them."""
    policy = msgspec.json.encode(PolicyDocument(revision=1))
    agent = msgspec.json.encode(Registration("alice", (AgentKey("k", "00", "00", 1),)))
    facts = msgspec.json.encode(LetterFacts(7, "m", "alice", "bob", "t", 2, "c", "r", 3, 1, 1))
    body = AtRest(keys.at_rest_key).seal(seal_purpose(0, 7), b"whatever")
    fields = {"message_id": b"m", "facts": signed(keys, facts_purpose(0), facts), "body": body}
    return {
        "policy": PolicyLine(1, policy, keys.mac("policy", policy)),
        "agents": AgentLine("alice", agent.decode(), keys.mac("registration:alice", agent)),
        "states": StateLine("alice", 3, 2, b'{"a":1}'),
        "later": LaterLine(0, "other/1", 5.0, b"sealed"),
        "dead": DeadLine(0, "5-0", fields),
        "circuits": CircuitLine(0, "alice", b"record"),
    }


@pytest.fixture
def backup(tmp_path, keys):
    """A backup with one thing of each kind."""
    path = tmp_path / "one.zip"
    with path.open("wb") as file, BackupWriter(file) as writer:
        for part, line in lines(keys).items():
            with writer.part(part) as add:
                add(line)
        writer.finish(
            Manifest(
                FORMAT, VERSION, "b1", "mas", (PartitionFacts(7, "0" * 64, 1),), keys.key_id, 1, 2, "a@b",
                dict(writer.parts),
            ),
            keys,
        )  # fmt: skip
    return path


def looked_at(path, keys):
    """What verification says, and everything that could be restored."""
    with BackupReader(path) as reader:
        found = verify(reader, keys)
        manifest = reader.manifest(keys, keys.key_id)
        everything = [line for part in PARTS for line in reader.lines(part, manifest)]
    return found, everything


def test_a_backup_is_read_as_it_was_written(backup, keys):
    """Every part, and every check is fine but that of the evidence, which is not here."""
    found, everything = looked_at(backup, keys)

    expected = {name: line for name, line in lines(keys).items() if name != "dead"}
    assert [line for line in everything if not isinstance(line, DeadLine)] == list(expected.values())
    assert {item.check for item in found if item.state != "ok"} == {"audit position of partition 0"}


def test_no_changed_byte_and_no_cut_gets_through(backup, keys, tmp_path):
    """Wherever it is: refused, or it says what it said, as with the time that zip keeps beside a name."""
    content, other = backup.read_bytes(), tmp_path / "other.zip"
    _, original = looked_at(backup, keys)
    refused = 0
    spoiled = [
        content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]
        for place in range(0, len(content), 5)
    ]
    cut = [content[:place] for place in range(0, len(content), 97)]
    for text in (*spoiled, *cut):
        other.write_bytes(text)
        try:
            found, everything = looked_at(other, keys)
        except BackupInvalid:
            refused += 1
        else:
            assert any(item.state == "bad" for item in found) or everything == original
    assert refused > 0.7 * len(spoiled)


def test_other_keys_and_other_content_are_told_apart(backup, keys, tmp_path):
    """A backup of another system, one that was edited, and parts that were exchanged."""
    strange = GatewayKeys.generate()
    with BackupReader(backup) as reader, pytest.raises(BackupInvalid, match="was made with the gateway key"):
        reader.manifest(strange, strange.key_id)
    members = members_of(backup)
    manifest = json.loads(members["manifest.json"])
    edited = {**members, "manifest.json": json.dumps({**manifest, "id": "b2"}).encode()}
    with (
        BackupReader(write_members(tmp_path / "a.zip", edited)) as reader,
        pytest.raises(BackupInvalid, match="it was changed"),
    ):
        reader.manifest(keys, keys.key_id)
    edited = {**members, "states.jsonl": members["states.jsonl"].replace(b'"revision":3', b'"revision":4')}
    (check,) = [item for item in looked_bad(tmp_path, edited, keys) if item.check == "states"]
    assert "is not what was written" in check.detail
    del edited["states.jsonl"]
    (check,) = [item for item in looked_bad(tmp_path, edited, keys) if item.check == "states"]
    assert "it lacks states.jsonl" in check.detail


def looked_bad(tmp_path, members, keys):
    with BackupReader(write_members(tmp_path / "b.zip", members)) as reader:
        return [item for item in verify(reader, keys) if item.state == "bad"]


@pytest.mark.parametrize(
    ("part", "line", "why"),
    [
        ("policy", {"revision": 2}, "another revision"),
        ("agents", {"agent": "bob"}, "does not carry the gateway's MAC"),
        ("agents", {"record": "{}"}, "does not carry the gateway's MAC"),
        ("states", {"agent": "../x"}, "no state of an agent"),
        ("states", {"revision": -1}, "no state of an agent"),
        ("states", {"revision": "x"}, "cannot be read"),
        ("later", {"partition": 9}, "nothing for later"),
        ("later", {"due": -5}, "nothing for later"),
        ("later", {"name": "x" * 600}, "nothing for later"),
        ("dead", {"entry": "5-0 MAXLEN"}, "no dead letter"),
        ("dead", {"entry": f"{2**64}-0"}, "no dead letter"),
        ("dead", {"fields": {}}, "no dead letter"),
        ("dead", {"partition": -1}, "no dead letter"),
        ("circuits", {"field": ""}, "no circuit"),
    ],
)
def test_lines_that_no_system_writes_are_refused(backup, keys, tmp_path, part, line, why):
    """Even with a manifest that fits: whoever has the key may have a broken program."""
    name = f"{part}.jsonl"
    members = members_of(backup)
    text = json.dumps({**json.loads(members[name]), **line}).encode() + b"\n"
    path = write_members(tmp_path / "a.zip", {**members, name: text})

    def edit(manifest):
        manifest["parts"][part] |= {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}

    with BackupReader(remade(path, tmp_path / "b.zip", keys, edit)) as reader:
        (bad,) = [item for item in verify(reader, keys) if item.state == "bad"]
    assert (bad.check, why in bad.detail) == (part, True)


@pytest.mark.parametrize("name", ["../../escaped", "/escaped", "agents.jsonl/../x", "C:\\x", "dir/"])
def test_s25_names_that_no_backup_has_are_refused(backup, tmp_path, name):
    """Nothing is unpacked to a path, so such names lead nowhere (S25)."""
    before = set(tmp_path.rglob("*"))
    path = write_members(tmp_path / "a.zip", {**members_of(backup), name: b"x"})

    with pytest.raises(BackupInvalid, match=r"holds files that no backup has|none of ours"):
        BackupReader(path)
    assert set(tmp_path.rglob("*")) - before == {path}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_same_name_twice_is_refused(backup, tmp_path):
    """Which of the two would count depends on who reads."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            archive.writestr("manifest.json", b"{}")
    with pytest.raises(BackupInvalid, match="holds files that no backup has"):
        BackupReader(path)


def test_s21_what_unpacks_to_too_much_is_refused_in_bounded_memory(backup, keys, tmp_path, monkeypatch):
    """A part, a manifest, and a list of contents (S21)."""
    monkeypatch.setattr(backup_file, "MAX_MANIFEST_BYTES", 1 << 20)
    members = members_of(backup)
    bomb = b"0" * (100 << 20)
    part = write_members(tmp_path / "a.zip", {**members, "dead.jsonl": bomb})
    manifest = write_members(tmp_path / "b.zip", {**members, "manifest.json": bomb})
    del bomb
    crowd = write_members(tmp_path / "c.zip", {f"{number}": b"" for number in range(5000)})

    tracemalloc.start()
    try:
        with BackupReader(part) as reader:
            (bad,) = [item for item in verify(reader, keys) if item.state == "bad"]
        assert bad.check == "dead"
        with pytest.raises(BackupInvalid, match="too long"):
            BackupReader(manifest)
        with pytest.raises(BackupInvalid, match="list of contents"):
            BackupReader(crowd)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "edit",
    [
        {"version": 2},
        {"format": "tar"},
        {"partitions": "many"},
        {"parts": []},
        {"begun": "yesterday"},
    ],
)
def test_manifests_that_no_system_writes_are_refused(backup, keys, tmp_path, edit):
    """Another version is named, so that a person knows what to do."""
    path = remade(backup, tmp_path / "a.zip", keys, lambda manifest: manifest.update(edit))

    with pytest.raises(BackupInvalid, match=r"version|manifest cannot be read|format"):
        BackupReader(path)


def test_what_is_no_file_is_no_backup(backup, tmp_path):
    """A link, a folder, an empty file, a text, nothing."""
    (tmp_path / "link.zip").symlink_to(backup)
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "empty.zip").touch()
    (tmp_path / "text.zip").write_text("PK\5\6 is how it ends")
    for name in ("link", "folder", "empty", "text"):
        with pytest.raises(BackupInvalid):
            BackupReader(tmp_path / f"{name}.zip")
    with pytest.raises(NotFound):
        BackupReader(tmp_path / "none.zip")


def test_a_list_tells_which_backups_can_be_used(backup, keys, tmp_path):
    """The newest first; what is another system's or none has a problem; drafts are passed over."""
    write_private(private_dir(tmp_path / "keys") / "gateway.key", b"11" * 32)
    own = GatewayKeys.load(tmp_path / "keys")
    write_empty_backup(tmp_path / "own.zip", own, own.key_id, begun=9)
    write_empty_backup(tmp_path / "older.zip", own, own.key_id, begun=3)
    (tmp_path / ".draft.zip").touch()
    (tmp_path / "text.zip").write_text("no")

    found = list_backups(tmp_path, tmp_path / "keys")
    assert [item.path.name for item in found] == ["own.zip", "older.zip", "one.zip", "text.zip"]
    assert [item.is_checked for item in found] == [True, True, False, False]
    assert "gateway key" in found[2].problem
    assert not any(item.is_checked for item in list_backups(tmp_path))
    assert find_backup(str(backup), None) == backup
    with pytest.raises(NotFound):
        find_backup("none.zip", None)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Keys and tokens of a system, with what belongs to its server and to subjects of payloads."""
    monkeypatch.setattr(sealed_keys, "_COST", 2**10)
    keys_dir, tokens_dir = private_dir(tmp_path / "keys"), private_dir(tmp_path / "tokens")
    write_private(keys_dir / "gateway.key", b"22" * 32)
    write_private(keys_dir / "audit-1.key", b"audit")
    write_private(keys_dir / "server.password", b"password")
    write_private(private_dir(keys_dir / "payloads") / "subject.key", b"subject")
    write_private(tokens_dir / "alice.token", b"alice's token")
    return keys_dir, tokens_dir


def test_keys_come_back_with_the_passphrase_alone(folders, tmp_path):
    """Never those of erased subjects, nor the password of a server; nothing of it is readable."""
    sealed, count = seal_keys(*folders, PASSPHRASE)
    assert count == 3
    assert b"alice" not in sealed

    files = open_keys(sealed, PASSPHRASE)
    assert sorted(files) == ["keys/audit-1.key", "keys/gateway.key", "tokens/alice.token"]
    assert gateway_keys_in(files).key_id == GatewayKeys.load(folders[0]).key_id
    written = put_keys(files, tmp_path / "new" / "keys", tmp_path / "new" / "tokens")
    assert [path.stat().st_mode & 0o777 for path in written] == [0o600] * 3
    assert put_keys(files, tmp_path / "new" / "keys", tmp_path / "new" / "tokens") == []
    for wrong in ("another passphrase", ""):
        with pytest.raises(BackupInvalid, match="another passphrase"):
            open_keys(sealed, wrong)
    for spoiled in (b"", sealed[:20], sealed[:-1], sealed[:40] + b"x" + sealed[41:], b"x" + sealed[1:]):
        with pytest.raises(BackupInvalid, match="another passphrase, or they were changed"):
            open_keys(spoiled, PASSPHRASE)


def test_keys_that_are_there_are_not_replaced(folders, tmp_path):
    """And nothing is written where one of them is another."""
    files = open_keys(seal_keys(*folders, PASSPHRASE)[0], PASSPHRASE)
    keys_dir = private_dir(tmp_path / "new")
    write_private(keys_dir / "gateway.key", b"33" * 32)

    with pytest.raises(Conflict, match="is another key"):
        put_keys(files, keys_dir, None)
    assert [path.name for path in keys_dir.iterdir()] == ["gateway.key"]


def test_a_passphrase_comes_from_a_private_file(tmp_path):
    """Its first line; others may not read it, and it is not too short."""
    path = write_private(tmp_path / "passphrase", PASSPHRASE.encode() + b"\nmore\n")
    assert read_passphrase(path) == PASSPHRASE
    path.chmod(0o644)
    with pytest.raises(SecretUnavailable, match="other users"):
        read_passphrase(path)
    with pytest.raises(UsageError, match="at least 8"):
        read_passphrase(write_private(tmp_path / "short", b"1234567\n"))
    with pytest.raises(MasError):
        read_passphrase(tmp_path / "none")


def test_keys_by_reference_stay_references(tmp_path, monkeypatch):
    """A backup holds where the key is, not the key; on the other machine it is looked for there."""
    keys_dir = tmp_path / "keys"
    made = GatewayKeys.load_or_create(keys_dir)
    secret = (keys_dir / "gateway.key").read_text().strip()
    monkeypatch.setenv("OUR_KEY", secret)
    write_private(keys_dir / "gateway.key", b"env:OUR_KEY\n")
    sealed, _ = seal_keys(keys_dir, None, "correct horse")

    files = open_keys(sealed, "correct horse")

    assert secret.encode() not in b"".join(files.values())
    assert gateway_keys_in(files).key_id == made.key_id
    put_keys(files, tmp_path / "new", None)
    assert GatewayKeys.load(tmp_path / "new").key_id == made.key_id
    monkeypatch.delenv("OUR_KEY")
    with pytest.raises(SecretUnavailable, match="env:OUR_KEY"):
        gateway_keys_in(files)


def test_a_backup_gets_no_program_run(tmp_path):
    """Whoever made it knows the passphrase, and must not rule the machine where it is restored."""
    files = {"keys/gateway.key": f"cmd:touch {tmp_path}/got-in".encode()}

    for use in (lambda: gateway_keys_in(files), lambda: put_keys(files, tmp_path / "new", None)):
        with pytest.raises(BackupInvalid, match="would run a program"):
            use()

    assert not (tmp_path / "got-in").exists()
    assert not (tmp_path / "new").exists()
