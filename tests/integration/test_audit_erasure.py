"""Erasure destroys one subject's key, leaves the chain as it is, and is recorded without the subject's name."""

from __future__ import annotations

import msgspec
import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.audit.payload_keys import PayloadKeys
from mas_core.errors import DecryptionFailed, KeyNotFound
from mas_core.ops import erasure

SUBJECT = "ada@example.org"


@pytest.fixture
async def system(server_url):
    """alice sends to bob."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        client = await opened.client("alice")
        await opened.run("bob")
        await client.send("bob", "note", {"n": 1})
        yield opened


@pytest.fixture
def keys(system):
    """The keys of subjects, and one for ours."""
    made = PayloadKeys(system.folder / ".mas" / "keys" / "payloads")
    made.key_for(SUBJECT)
    return made


async def test_an_erased_subject_cannot_be_read_again_and_the_chain_holds(system, keys):
    """U5, GDPR: copies of others stay readable."""
    key, other = keys.key_for(SUBJECT), keys.key_for("somebody else")
    mine, others = key.seal(b"mine", b"m1"), other.seal(b"theirs", b"m2")
    before = [record.seq for record in await system.audit()]

    done = await erasure.erase(system.system, SUBJECT, reason="ticket 7")

    assert done.key_id == key.key_id
    assert keys.find(SUBJECT) is None
    with pytest.raises(DecryptionFailed):
        keys.key_for(SUBJECT).open(mine, b"m1")
    assert keys.key_for("somebody else").open(others, b"m2") == b"theirs"
    assert [record.seq for record in await system.audit()][: len(before)] == before
    assert await system.audit_holds()


async def test_an_erasure_is_recorded_without_the_name(system, keys):
    """Before and after it; with the key's id, a keyed fingerprint and the reason."""
    key_id = keys.key_for(SUBJECT).key_id
    await erasure.erase(system.system, SUBJECT, reason="ticket 7")

    async def recorded():
        found = await system.audit(kind="operator", type="audit.erase")
        return found if len(found) == 2 else None

    found = await until(recorded)
    assert [record.decision for record in found] == ["begun", "done"]
    assert {record.reason for record in found} == {"ticket 7"}
    change = found[1].details["change"]
    assert change["key"] == key_id
    assert change["subject_hmac"] == system.keys.payload_hmac(SUBJECT.encode())
    texts = [block.text async for block in system.store.records.audit_blocks(0)]
    assert not any(SUBJECT.encode() in text for text in texts)


async def test_what_stays_is_listed(system, keys):
    """Digests, fingerprints, and records that name the subject."""
    PayloadKeys(system.folder / ".mas" / "keys" / "payloads").key_for("bob")
    done = await erasure.erase(system.system, "bob", reason="x", dry_run=True)

    stays = {item.what: item.count for item in done.stays}
    assert stays["records that name the subject"] == len(
        [record for record in await system.audit() if "bob" in (record.sender, record.target)]
    )
    assert stays["records that name the subject"] > 0
    assert keys.find("bob") is not None


async def test_copies_under_the_key_are_counted(system, keys):
    """A record names the key that the copy of its payload is sealed under."""
    records = await system.audit(kind="message")
    assert erasure.sealed_key(records[0]) == ""
    sealed = msgspec.structs.replace(records[0], details={"sealed": {"key": "0123", "digest": "x"}})
    assert erasure.sealed_key(sealed) == "0123"
    assert erasure.sealed_key(msgspec.structs.replace(records[0], details={"sealed": "x"})) == ""


async def test_a_subject_without_copies_is_not_found(system, keys):
    """There is nothing to erase, and nothing is recorded."""
    with pytest.raises(KeyNotFound):
        await erasure.erase(system.system, "nobody", reason="x")
    with pytest.raises(KeyNotFound):
        await erasure.erase(system.system, "nobody", reason="x", dry_run=True)
