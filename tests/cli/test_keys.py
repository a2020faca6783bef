"""`mas key`, `mas send --encrypt` and `mas audit check-signature`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from support.signed_export import PAYLOAD, PUBLIC_KEY, SALT, write_public_key, write_signed_export


@pytest.fixture
def vault(mas, running_project: Path, monkeypatch: pytest.MonkeyPatch):
    """An agent for one test, in the running project."""
    monkeypatch.chdir(running_project)
    assert mas("agent", "register", "vault").code == 0
    yield "vault"
    mas("agent", "deregister", "vault", "--yes")


def test_keys_are_listed_with_fingerprint_age_and_use(mas, vault):
    """A token has a fingerprint for each use; the table shows what it signs with."""
    (found,) = mas("key", "list", vault, "-o", "json").json
    table = mas("key", "list", vault).out

    assert found["type"] == "token"
    assert found["use"] == ["sign", "decrypt", "seal"]
    assert found["fingerprint"] == found["fingerprints"]["sign"]
    assert len(set(found["fingerprints"].values())) == 3
    assert found["age"] >= 0
    assert table.splitlines()[0].split()[:4] == ["AGENT", "KEY", "ID", "TYPE"]
    assert mas("key", "list", "nobody").code == 6


def test_a_generated_key_lies_in_a_private_file_and_nowhere_else(mas, vault, tmp_path):
    """Beside the token, or where --out says; what is printed holds no private key."""
    made = mas("key", "generate", vault, "-o", "json")
    other = mas("key", "generate", vault, "--type", "rsa", "--out", str(tmp_path / "v.pem"), "-o", "json")
    again = mas("key", "generate", vault, "--out", str(tmp_path / "v.pem"))

    assert made.json["path"].endswith(f"/vault.{made.json['key_id']}.pem")
    for path in (Path(made.json["path"]), tmp_path / "v.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        secret = path.read_text().splitlines()[1]
        assert secret not in made.out + made.err + other.out + other.err
    assert again.code == 7
    assert mas("key", "generate", vault, "--type", "dsa").code == 2
    assert {row["type"] for row in mas("key", "list", vault, "-o", "json").json} == {"token", "x25519", "rsa"}


def test_a_key_is_imported_rotated_and_revoked(mas, vault, tmp_path):
    """Each step shows in the list."""
    write_public_key(tmp_path / "public.pem")
    imported = mas("key", "import", vault, str(tmp_path / "public.pem"), "-o", "json").json
    rotated = mas("key", "rotate", vault, "--grace", "10m", "-o", "json").json
    assert mas("key", "import", vault, str(tmp_path / "public.pem")).code == 7
    assert mas("key", "import", vault, str(tmp_path / "none.pem")).code == 2

    status = {row["key_id"]: row["status"] for row in mas("key", "list", vault, "-o", "json").json}
    revoked = mas("key", "revoke", vault, "--key", imported["key_id"], "--yes", "-o", "json").json

    assert imported["path"] is None
    assert status[imported["key_id"]] == "ending"
    assert status[rotated["key_id"]] == "active"
    assert [row["status"] for row in revoked] == ["revoked"]
    assert mas("key", "revoke", vault, "--key", imported["key_id"], "--yes").code == 6


def test_a_message_is_sent_encrypted_where_the_policy_lets_it(mas, vault):
    """Here it does not, since payloads are scanned; the refusal says so."""
    refused = mas("send", "notebook", "note.add", '{"text":"x"}', "--encrypt", "-o", "json")
    clear = mas("send", "notebook", "note.add", '{"text":"x"}')

    assert refused.code == 5
    assert refused.error["details"]["rule"] == "e2e_forbidden"
    assert "readable" in refused.error["details"]["because"]
    assert clear.code == 0


def test_an_auditor_checks_a_signature_with_the_export_and_the_public_key_alone(mas, tmp_path):
    """No project, no system, no gateway; with salt and payload that is proven too."""
    write_signed_export(tmp_path / "audit.jsonl")
    (tmp_path / "payload.json").write_bytes(PAYLOAD)
    (tmp_path / "other.json").write_bytes(b'{"n":2}')
    check = ("audit", "check-signature", "m1", "--file", str(tmp_path / "audit.jsonl"), "-o", "json")
    known = (*check, "--public-key", PUBLIC_KEY)

    plain = mas(*known)
    with_payload = mas(*known, "--payload", str(tmp_path / "payload.json"), "--salt", SALT.hex())
    other_payload = mas(*known, "--payload", str(tmp_path / "other.json"), "--salt", SALT.hex())
    other_key = mas(*check, "--public-key", "00" * 32)

    assert (plain.code, plain.json[0]["signature"], plain.json[0]["payload"]) == (0, "right", "not checked")
    assert (with_payload.code, with_payload.json[0]["payload"]) == (0, "right")
    assert (other_payload.code, other_payload.json[0]["payload"]) == (1, "wrong")
    assert (other_key.code, other_key.json[0]["signature"]) == (1, "wrong")
    assert mas(*check).code == 2
    assert mas(*known, "--salt", SALT.hex()).code == 2
    assert mas("audit", "check-signature", "m2", *known[3:]).code == 6


@pytest.mark.parametrize("key", ["abcd", "no hex", "00" * 33])
def test_what_is_no_key_is_not_taken_for_a_forgery(mas, tmp_path, key):
    """Neither right nor wrong: the question makes no sense."""
    write_signed_export(tmp_path / "audit.jsonl")

    ran = mas(
        "audit", "check-signature", "m1", "--file", str(tmp_path / "audit.jsonl"), "--public-key", key,
        "-o", "json",
    )  # fmt: skip

    assert (ran.code, ran.out) == (2, "")
    assert ran.error["message"].startswith("this is no Ed25519 public key")


def test_an_export_that_is_not_there_is_said_in_a_sentence(mas, tmp_path):
    """Without the words of the operating system's programmers."""
    words = ("m1", "--file", str(tmp_path / "none.jsonl"), "--public-key", PUBLIC_KEY, "-o", "json")

    ran = mas("audit", "check-signature", *words)

    assert ran.code == 2
    assert ran.error["message"] == f"{tmp_path}/none.jsonl cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "mallory"}, {"target": "carol"}, {"type": "y"}, {"key_id": "k2"}, {"correlation_id": "m0"},
        {"sent_at": 6}, {"ttl_ms": 7}, {"priority": 8}, {"flags": 33}, {"namespace": "other"},
        {"payload": "00" * 32}, {"headers": "00" * 32}, {"algorithm": "none"}, {"value": ""}, {"value": "!"},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_s10_a_record_that_was_changed_does_not_fit_its_signature(mas, tmp_path, change):
    """Whatever of the message a record tells otherwise than it was signed."""
    write_signed_export(tmp_path / "audit.jsonl", **change)
    words = ("--file", str(tmp_path / "audit.jsonl"), "--public-key", PUBLIC_KEY)

    assert mas("audit", "check-signature", "m1", *words).code == 1
