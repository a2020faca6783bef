"""Verification of a running system: its store against its chain, and against the evidence outside of it."""

from __future__ import annotations

import json
import shutil

import pytest
from support.followed_evidence import new_evidence
from support.systems import live_system

from mas_core.audit.store_verify import verify_store
from mas_core.audit.trusted_keys import trusted_keys
from mas_core.audit.verify import Tampering

MESSAGES = 60


@pytest.fixture
async def system(server_url):
    """alice has sent messages to bob, one after the other."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        client = await opened.client("alice")
        await opened.run("bob")
        for number in range(MESSAGES):
            await client.send("bob", "note", {"n": number})
        yield opened


@pytest.fixture
async def evidence(system):
    """The evidence of that: segments of 32 records, and a checkpoint over all."""
    made = new_evidence(system.folder, system.store.namespace)
    await made.follow(system.store.records)
    return made


@pytest.fixture
def verify(system, evidence):
    """Verify the store, with the evidence or without."""

    async def run(*, alone=False):
        if alone:
            return await verify_store(system.store.records, 0)
        keys = trusted_keys(evidence.folder, evidence.keys.public)
        return await verify_store(system.store.records, 0, folder=evidence.folder, keys=keys)

    return run


async def entries(system):
    """Id and text of each entry of the audit stream."""
    return [(block.entry, block.text) async for block in system.store.records.audit_blocks(0)]


async def write(system, entries, *, head=None):
    """Put other entries into the audit stream, as whoever has the server's password can."""
    connection, key = system.store.connection, system.store.keys.audit(0)
    await connection.call("DEL", key)
    for entry, text in entries:
        await connection.call("XADD", key, entry, "r", text)
    if head is not None:
        await connection.call("HSET", system.store.keys.meta(0), "audit_seq", head[0], "audit_head", head[1])


def of_record(found, seq):
    """Where record `seq` is: place of its entry, and of the record in it."""
    for place, (entry, text) in enumerate(found):
        records = text.split(b"\n")
        first = int(entry.partition("-")[0]) - len(records) + 1
        if first <= seq < first + len(records):
            return place, seq - first
    raise AssertionError(seq)


async def test_an_untouched_store_verifies(verify):
    """With evidence and without."""
    with_evidence, alone = await verify(), await verify(alone=True)

    assert (with_evidence.ok, alone.ok) == (True, True)
    assert with_evidence.records == alone.records == with_evidence.covered > MESSAGES
    assert with_evidence.head == alone.head


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("seq", [5, 33, 50])
async def test_s30_an_edited_record_in_the_store_is_named(system, verify, seq, alone):
    """By its number, with the tree or with the chain alone."""
    found = await entries(system)
    place, inside = of_record(found, seq)
    records = found[place][1].split(b"\n")
    records[inside] = records[inside].replace(b'"kind":"', b'"kind":"x', 1).replace(b"allowed", b"blocked")
    if b"blocked" not in records[inside] and b'"x' not in records[inside]:
        records[inside] = records[inside].replace(b'"time":1', b'"time":2', 1)
    found[place] = (found[place][0], b"\n".join(records))
    await write(system, found)
    result = await verify(alone=alone)

    assert (result.ok, result.kind, result.first_bad) == (False, Tampering.EDITED, seq)
    assert result.verified_to == (seq - 1 if not alone else 0)


@pytest.mark.parametrize("alone", [False, True])
async def test_s30_a_deleted_entry_of_the_store_is_named(system, verify, alone):
    """The numbers of the records that went with it."""
    found = await entries(system)
    place, inside = of_record(found, 20)
    await write(system, found[:place] + found[place + 1 :])
    result = await verify(alone=alone)

    assert (result.ok, result.kind, result.first_bad) == (False, Tampering.DELETED, 20 - inside)


@pytest.mark.parametrize("alone", [False, True])
async def test_s30_a_tail_that_was_cut_off_is_named(system, verify, alone):
    """The head still says how long the log was."""
    found = await entries(system)
    place, inside = of_record(found, 40)
    await write(system, found[:place])
    result = await verify(alone=alone)

    assert (result.ok, result.first_bad) == (False, 40 - inside)
    assert result.kind == Tampering.TRUNCATED


async def test_s30_a_store_from_yesterday_is_found(system, evidence, verify):
    """A snapshot that agrees with itself ends before what checkpoints name."""
    found = await entries(system)
    place, inside = of_record(found, 40)
    before = json.loads(found[place][1].split(b"\n")[0])["prev"]
    last = 40 - inside - 1
    await write(system, found[:place], head=(last, before))
    alone, result = await verify(alone=True), await verify()

    assert alone.ok, "without evidence nobody can tell"
    assert (result.ok, result.kind, result.first_bad) == (False, Tampering.ROLLED_BACK, last + 1)


async def test_s30_an_empty_store_is_found(system, verify):
    """Everything went, the head included."""
    await write(system, [], head=(0, ""))
    result = await verify()

    assert (result.ok, result.kind, result.first_bad) == (False, Tampering.ROLLED_BACK, 1)


async def test_a_trimmed_store_verifies_from_its_first_record_on(system, verify):
    """What left the store is in the evidence, whose hashes lead on."""
    found = await entries(system)
    place, inside = of_record(found, 33)
    await write(system, found[place:])
    result = await verify()

    assert (result.ok, result.first) == (True, 33 - inside)
    assert (await verify(alone=True)).first_bad == 1


async def test_s30_records_before_the_evidence_begins_cannot_go_unseen(system, evidence, verify):
    """Hashes that were removed do not make a trimmed store look whole."""
    found = await entries(system)
    place, _ = of_record(found, 33)
    await write(system, found[place:])
    (evidence.place() / "hashes").unlink()

    assert (await verify()).first_bad == 1


async def test_the_evidence_of_another_system_proves_nothing(system, evidence, tmp_path):
    """Its checkpoints name other records."""
    other = new_evidence(tmp_path, system.store.namespace)
    shutil.copytree(evidence.place(), other.place())
    keys = trusted_keys(other.folder, other.keys.public)
    result = await verify_store(system.store.records, 0, folder=other.folder, keys=keys)

    assert result.covered == 0
