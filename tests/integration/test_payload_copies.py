"""Sealed copies of payloads: under the key of their subject, outside the chain, and gone when it is."""

from __future__ import annotations

import stat

import msgspec
import pytest
from support.systems import live_system

from mas_core.audit.payload_keys import FOLDER_NAME, PayloadKeys
from mas_core.errors import (
    DecryptionFailed,
    IntegrityError,
    KeyNotFound,
    MessageNotFound,
    PayloadBlocked,
)
from mas_core.gateway import payload_evidence
from mas_core.ops import erasure, payload_copies
from mas_core.ops.payload_views import NOT_KEPT, PayloadView

PAIR = [("alice", "bob")]
PAYLOAD = {"customer": {"id": "c-17"}, "note": "ring twice"}


@pytest.fixture
async def running(server_url):
    """Payloads of invoices are kept under the key of the customer, of letters under that of the sender."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR, gateways=0) as opened:
        await opened.change_policy(audit_payloads={"invoice.*": "/customer/id", "letter": ""})
        await opened.start_gateway(payload_keys=opened.folder / ".mas" / "keys" / FOLDER_NAME)
        await opened.run("bob")
        yield opened


async def test_a_copy_is_read_by_who_has_the_key_and_names_the_subject(running):
    """Its record has key and digest; the store has neither the payload nor the subject; other types none."""
    alice = await running.client("alice")
    kept = await alice.send("bob", "invoice.paid", PAYLOAD)
    letter = await alice.send("bob", "letter", {"text": "dear bob"})
    other = await alice.send("bob", "note", PAYLOAD)

    found, text = await payload_copies.read(running.system, kept.message_id, subject="c-17")
    assert msgspec.json.decode(text) == PAYLOAD
    assert set(found.record.details["sealed"]) == {"key", "sha256"}
    _, text = await payload_copies.read(running.system, letter.message_id)
    assert msgspec.json.decode(text) == {"text": "dear bob"}
    with pytest.raises(MessageNotFound):
        await payload_copies.read(running.system, other.message_id)
    with pytest.raises(KeyNotFound):
        await payload_copies.read(running.system, kept.message_id, subject="c-18")
    stored = await running.store.connection.call("HGETALL", running.store.keys.payload_copies(0))
    everything = msgspec.json.encode(await running.audit()) + repr(stored).encode()
    assert b"c-17" not in everything
    assert b"ring twice" not in everything
    assert b"dear bob" not in everything
    assert await running.audit_holds()


async def test_keys_are_private_files_outside_the_store(running):
    """0600, in a folder of ours; their names tell no subject."""
    alice = await running.client("alice")
    await alice.send("bob", "invoice.paid", PAYLOAD)
    folder = running.folder / ".mas" / "keys" / FOLDER_NAME
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "c-17" not in str(path)


async def test_erasing_a_subject_ends_its_copies_and_no_others(running, monkeypatch):
    """The chain holds, the copy does not open any more; what comes later gets a new key."""
    monkeypatch.setattr(payload_evidence, "KEY_KNOWN_S", 0.0)
    alice = await running.client("alice")
    mine = await alice.send("bob", "invoice.paid", PAYLOAD)
    others = await alice.send("bob", "invoice.paid", {"customer": {"id": "c-18"}})

    done = await erasure.erase(running.system, "c-17", reason="ticket 7")
    assert done.copies == 1
    stored = await running.store.connection.call("HKEYS", running.store.keys.payload_copies(0))
    assert len(stored) == 1
    with pytest.raises(KeyNotFound):
        await payload_copies.read(running.system, mine.message_id, subject="c-17")
    await payload_copies.read(running.system, others.message_id, subject="c-18")
    later = await alice.send("bob", "invoice.paid", PAYLOAD)
    await payload_copies.read(running.system, later.message_id, subject="c-17")
    with pytest.raises(KeyNotFound):
        await payload_copies.read(running.system, mine.message_id, subject="c-17")
    assert await running.audit_holds()


async def test_s30_a_copy_that_was_changed_or_swapped_is_found(running):
    """The record has the digest of the sealed bytes, and the seal is bound to the message."""
    alice = await running.client("alice")
    one = await alice.send("bob", "invoice.paid", PAYLOAD)
    two = await alice.send("bob", "invoice.paid", PAYLOAD)
    records = {item.message_id: item for item in await running.audit(kind="message")}
    first, second = records[one.message_id].seq, records[two.message_id].seq
    copy = await running.store.records.payload_copy(0, second)
    key = running.store.keys.payload_copies(0)
    await running.store.connection.call("HSET", key, first, copy)
    with pytest.raises(IntegrityError):
        await payload_copies.read(running.system, one.message_id, subject="c-17")
    payload_key = PayloadKeys(running.folder / ".mas" / "keys" / FOLDER_NAME).key_for("c-17")
    with pytest.raises(DecryptionFailed):
        payload_key.open(copy, one.message_id.encode())
    await running.store.records.drop_payload_copies(0, [first, second])
    with pytest.raises(MessageNotFound):
        await payload_copies.read(running.system, one.message_id, subject="c-17")


async def test_what_is_refused_leaves_no_copy_and_what_is_redacted_its_redacted_one(running):
    """The audit keeps no secret that the scan took out."""
    await running.change_policy(dlp_actions={"ssn": "block", "email": "redact"})
    alice = await running.client("alice")
    with pytest.raises(PayloadBlocked):
        await alice.send("bob", "letter", {"ssn": "123-45-6789"})
    redacted = await alice.send("bob", "letter", {"to": "ada@example.org"})
    (blocked,) = await running.audit(decision="blocked")
    assert "sealed" not in blocked.details
    _, text = await payload_copies.read(running.system, redacted.message_id)
    assert b"ada@" not in text


@pytest.mark.parametrize(
    "customer", [None, [], {}, "", "x" * 500, "line\nbreak", True, "\U0001f600" * 300], ids=repr
)
async def test_s32_a_hostile_subject_counts_as_none(running, customer):
    """What cannot be a subject leaves the copy to the sender's key; the message passes."""
    alice = await running.client("alice")
    sent = await alice.send("bob", "invoice.paid", {"customer": {"id": customer}})
    await payload_copies.read(running.system, sent.message_id, subject="alice")


async def test_without_a_folder_messages_pass_and_it_is_said(server_url):
    """The record says that the copy is missing, and an alarm says why."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR) as opened:
        await opened.change_policy(audit_payloads={"*": ""})
        await opened.run("bob")
        alice = await opened.client("alice")
        assert (await alice.send("bob", "x", {})).decision == "allowed"
        (record,) = await opened.audit(kind="message")
        assert record.details["sealed"] == {"missing": True}
        owners = opened.gateways[0]._owners.values()
        assert any("without the copy" in alarm for owner, _ in owners for alarm in owner.alarms)


async def test_payloads_are_shown_beside_messages_where_they_are_kept(running):
    """By id and by number of the record; elsewhere it is said why there is none."""
    alice = await running.client("alice")
    letter = await alice.send("bob", "letter", {"text": "dear bob"})
    invoice = await alice.send("bob", "invoice.paid", PAYLOAD)
    other = await alice.send("bob", "note", PAYLOAD)
    view = await PayloadView.of(running.system)
    (record,) = [item for item in await running.audit(kind="message") if item.type == "letter"]

    assert not view.is_empty
    assert (await view.look(letter.message_id, "letter")).value == {"text": "dear bob"}
    assert (await view.look(f"0:{record.seq}", "letter")).value == {"text": "dear bob"}
    assert (await view.look(other.message_id, "note")).problem == NOT_KEPT
    assert "--subject" in (await view.look(invoice.message_id, "invoice.paid")).problem
