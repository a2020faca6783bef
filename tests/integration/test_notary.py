"""The notary beside a real server: what it signs, what it refuses to sign, and what stops it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time

import pytest
from support.notaries import (
    check_evidence,
    checkpoints_of,
    evidence_of,
    new_notary,
    notary_of,
    signed_to,
    spawned_notary,
    status_of,
    stored_records,
    until,
)
from support.servers import embedded_server
from support.systems import live_system

from mas_core.audit import evidence_writer
from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.era import read_era
from mas_core.audit.evidence_reader import EvidenceReader
from mas_core.audit.note import Note, notes_in
from mas_core.errors import Conflict, EvidenceDamaged, LockHeld, MasError
from mas_core.ops import notary as ops


@pytest.fixture
async def live(server_url):
    """A system with two agents that talk."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system:
        await system.run("bob")
        yield system


async def _talk(live, count=5):
    """Send messages, and give the number of the last audit record."""
    client = await live.client("alice")
    for number in range(count):
        await client.send("bob", "note.add", {"n": number})
    return (await live.store.records.audit_head(0))[0]


async def _state(live, state):
    """The notary's status, once the partition is in this state."""

    async def found():
        status = await status_of(live)
        return status if status and status.partitions and status.partitions[0].state == state else None

    return await until(found)


async def _rewrite(live, seq, records, *, head_seq=None):
    """Make the store hold these records only, in one block, as somebody with its password could."""
    call = live.store.connection.call
    key, meta = live.store.keys.audit(0), live.store.keys.meta(0)
    await call("DEL", key)
    if records:
        await call("XADD", key, f"{seq}-0", "r", b"\n".join(records))
    head = hashlib.sha256(records[-1]).hexdigest() if records else ""
    await call("HSET", meta, "audit_seq", head_seq if head_seq is not None else seq, "audit_head", head)


async def test_everything_recorded_is_signed_outside_of_the_store(live):
    """The folder holds the stored bytes; checkpoints name their tree, head and the server's time."""
    async with notary_of(live):
        last = await _talk(live)
        await until(lambda: signed_to(live, last))

    assert check_evidence(live) == await stored_records(live)
    checkpoint = checkpoints_of(live)[-1]
    assert (checkpoint.size, checkpoint.head) == await live.store.records.audit_head(0)
    now = await live.store.connection.time_ms()
    assert now - 60_000 < checkpoint.time <= now
    assert checkpoint.origin.split("/")[0] == live.store.namespace
    assert checkpoint.origin.split("/")[2:] == ["audit", "0"]


async def test_what_comes_last_is_signed_before_it_ends(live):
    """Although no checkpoint was due."""
    async with notary_of(live, checkpoint_s=60, checkpoint_records=10**6):
        last = await _talk(live)
        assert checkpoints_of(live) == []

    assert [found.size for found in checkpoints_of(live)] == [last]


async def test_many_records_are_signed_before_the_time(live):
    """After `checkpoint_records` of them."""
    async with notary_of(live, checkpoint_s=60, checkpoint_records=4):
        last = await _talk(live, 10)
        await until(lambda: signed_to(live, last - 4))


async def test_status_says_how_it_stands(live):
    """Records, signed records and the time of the last checkpoint, and no alarm."""
    async with notary_of(live):
        last = await _talk(live)
        await until(lambda: signed_to(live, last))

        async def current():
            status = await status_of(live)
            return status if status and status.partitions[0].signed == last else None

        status = await until(current)
        assert (status.partitions[0].state, status.partitions[0].records) == ("signing", last)
        assert status.partitions[0].signed_at == checkpoints_of(live)[-1].time
        assert (status.alarms, status.pid) == ([], os.getpid())
        assert (await ops.notaries_status(live.system)).notaries
    assert await status_of(live) is None


async def test_partitions_vouch_for_each_other(server_url):
    """A checkpoint names the newest ones of the other partitions, so that none can be replaced alone."""
    names = [f"agent-{number}" for number in range(8)]
    async with live_system(server_url, agents=names, allow=[("*", "*")], partitions=3) as live:
        for name in names:
            await live.run(name)
        async with notary_of(live):
            heads = await live.store.records.audit_heads()
            for partition, (seq, _) in enumerate(heads):
                await until(lambda seq=seq, partition=partition: signed_to(live, seq, partition))
            client = await live.client(names[0])
            for name in names[1:]:
                await client.send(name, "note.add", {})
            for partition, (seq, _) in enumerate(await live.store.records.audit_heads()):
                await until(lambda seq=seq, partition=partition: signed_to(live, seq, partition))

        for partition in range(3):
            assert check_evidence(live, partition) == await stored_records(live, partition)
        newest = max((checkpoints_of(live, number)[-1] for number in range(3)), key=lambda found: found.time)
        own = int(newest.origin.rpartition("/")[2])
        assert set(newest.others) == {0, 1, 2} - {own}
        for partition, state in newest.others.items():
            assert state in [found.state for found in checkpoints_of(live, partition)]


@pytest.mark.slow
async def test_kill_9_loses_nothing_that_was_signed(live):
    """Killed again and again in the middle: every checkpoint stays true, and in the end all is signed."""
    sending = asyncio.create_task(_keep_talking(live))
    seen = []
    for _ in range(3):
        async with spawned_notary(live) as process:
            before = len(checkpoints_of(live))
            await until(lambda before=before: len(checkpoints_of(live)) > before + 1)
            seen.append([found.text() for found in checkpoints_of(live)])
            process.kill()
            await process.wait()
        found = [found.text() for found in checkpoints_of(live)]
        assert found[: len(seen[-1])] == seen[-1]
        check_evidence(live)
    sending.cancel()
    await asyncio.wait([sending])
    last, _ = await live.store.records.audit_head(0)

    async with spawned_notary(live) as process:
        await until(lambda: signed_to(live, last))
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0

    assert check_evidence(live) == await stored_records(live)


async def _keep_talking(live):
    client = await live.client("alice")
    while True:
        await client.send("bob", "note.add", {})


async def test_a_notary_ends_with_whoever_started_it(live):
    """It signs what is there first."""
    last = await _talk(live)
    async with spawned_notary(live, "--until-input-ends", checkpoint_s=60) as process:
        await until((evidence_of(live) / "p0" / "open.jsonl").exists)
        process.stdin.close()
        assert await process.wait() == 0

    assert checkpoints_of(live)[-1].size == last


async def test_two_notaries_at_one_folder(live):
    """The second is refused; one that waits takes over when the first ends."""
    async with notary_of(live) as first:
        last = await _talk(live)
        await until(lambda: signed_to(live, last))
        with pytest.raises(LockHeld, match=str(os.getpid())):
            await new_notary(live).run(asyncio.Event())
        async with spawned_notary(live) as waiting:
            await asyncio.sleep(1)
            status = await status_of(live)
            assert (status.pid, waiting.returncode) == (os.getpid(), None)
    assert first is not None

    async with spawned_notary(live):
        last = await _talk(live)
        await until(lambda: signed_to(live, last))
    assert check_evidence(live) == await stored_records(live)


async def test_s31_a_folder_that_cannot_be_written_heals_by_itself(live):
    """It is told in the status; nothing is lost, and signing goes on once the folder takes records again."""
    folder = evidence_of(live)
    async with notary_of(live):
        last = await _talk(live)
        await until(lambda: signed_to(live, last))
    parked = folder / "parked"
    (folder / "p0").rename(parked)
    (folder / "p0").write_bytes(b"in the way")

    async with notary_of(live):
        status = await _state(live, "unwritable")
        assert any("p0" in alarm for alarm in status.alarms)
        last = await _talk(live)
        (folder / "p0").unlink()
        parked.rename(folder / "p0")
        await until(lambda: signed_to(live, last))
        assert (await _state(live, "signing")).alarms == []

    assert check_evidence(live) == await stored_records(live)


async def test_s31_a_full_disk_heals_by_itself(live, monkeypatch):
    """A write that fails half-way leaves nothing wrong behind."""
    real = evidence_writer.write_all
    is_full = True

    def full(descriptor, data):
        if is_full:
            os.write(descriptor, data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        real(descriptor, data)

    monkeypatch.setattr(evidence_writer, "write_all", full)
    last = await _talk(live)
    async with notary_of(live):
        status = await _state(live, "unwritable")
        assert "No space left" in status.alarms[0]
        is_full = False
        await until(lambda: signed_to(live, last))

    assert check_evidence(live) == await stored_records(live)


@pytest.mark.parametrize("trouble", ["readable", "missing", "other", "garbage"])
async def test_a_key_that_cannot_be_used_signs_nothing(live, trouble):
    """Others can read it, it is gone or another one: records are kept, and signed when it is back."""
    async with notary_of(live):
        last = await _talk(live)
        await until(lambda: signed_to(live, last))
    path = live.system.target.keys_dir / "audit-0.key"
    kept = path.read_bytes()
    if trouble == "readable":
        path.chmod(0o644)
    elif trouble == "missing":
        path.unlink()
    elif trouble == "other":
        other = CheckpointKeys(live.folder / "other", live.folder / "other-keys", "x")
        assert other.name
        path.write_bytes((live.folder / "other-keys" / "audit-0.key").read_bytes())
    else:
        path.write_bytes(b"no key")
    before = len(checkpoints_of(live)) if trouble != "missing" else None

    async with notary_of(live):
        last = await _talk(live)
        status = await _state(live, "unsigned")
        assert str(path) in status.alarms[0]
        await until(lambda: EvidenceReader(evidence_of(live), 0).size == last)
        if before is not None:
            assert len(checkpoints_of(live)) == before
        path.unlink(missing_ok=True)
        path.write_bytes(kept)
        path.chmod(0o600)
        await until(lambda: signed_to(live, last))
        assert (await _state(live, "signing")).alarms == []

    assert check_evidence(live) == await stored_records(live)


async def test_a_key_that_others_can_read_while_it_runs_is_refused_too(live):
    """The check is made for each checkpoint."""
    path = live.system.target.keys_dir / "audit-0.key"
    async with notary_of(live):
        await until(lambda: signed_to(live, 1))
        path.chmod(0o640)
        last = await _talk(live)
        status = await _state(live, "unsigned")
        assert "chmod" in status.alarms[0] or "read by other" in status.alarms[0]
        path.chmod(0o600)
        await until(lambda: signed_to(live, last))


async def test_a_system_whose_keys_are_all_gone_gets_no_new_ones(live):
    """Who pinned the old key would never know."""
    async with notary_of(live):
        await _talk(live)
    (evidence_of(live) / "audit.pub").unlink()
    (live.system.target.keys_dir / "audit-0.key").unlink()

    async with notary_of(live):
        alarm = await until(lambda: _alarm(live))
        assert "neither audit.pub nor a key" in alarm
    assert not (live.system.target.keys_dir / "audit-0.key").exists()


async def _alarm(live):
    status = await status_of(live)
    return status.alarms[0] if status and status.alarms else ""


@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("damage", ["rolled_back", "emptied", "forked", "edited_last", "gap"])
async def test_s30_a_store_that_does_not_continue_is_not_signed(server_url, damage, is_running):
    """Rolled back, emptied, rewritten or with a gap: refused with the number, and the evidence stays."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as live:
        await live.run("bob")
        async with notary_of(live):
            last = await _talk(live)
            await until(lambda: signed_to(live, last))
            records = await stored_records(live)
            if is_running:
                await live.stack.aclose()
                await live.gateway_stack.aclose()
                records = await stored_records(live)
                await until(lambda: signed_to(live, len(records)))
                expected = await _spoil(live, records, damage)
                status = await _state(live, "refused")
        if not is_running:
            await live.stack.aclose()
            await live.gateway_stack.aclose()
            async with notary_of(live):
                pass
            records = await stored_records(live)
            expected = await _spoil(live, records, damage)
            async with notary_of(live):
                status = await _state(live, "refused")

        assert status.partitions[0].sequence == expected
        assert status.alarms
        assert check_evidence(live) == records
        assert checkpoints_of(live)[-1].size == len(records)


async def _spoil(live, records, damage):
    """Do something to the store; the number that is to be named."""
    size = len(records)
    if damage == "rolled_back":
        await _rewrite(live, size - 2, records[:-2])
        return size - 1
    if damage == "emptied":
        await _rewrite(live, 0, [])
        return 1
    if damage == "forked":
        forged = [b'{"seq":%d,"time":1,"prev":"%s"}' % (size + 1, b"0" * 64)]
        await _rewrite(live, size + 1, [*records, *forged])
        return size + 1
    if damage == "edited_last":
        await _rewrite(live, size, [*records[:-1], records[-1].replace(b'"time":', b'"time": ')])
        return size
    after = [b'{"seq":%d,"time":1,"prev":"%s"}' % (size + 2, b"0" * 64)]
    await _rewrite(live, size + 2, after)
    return size + 1


async def test_a_refusal_ends_when_the_store_is_as_it_was(live):
    """As when a stale copy gave way to the right one."""
    await live.stack.aclose()
    await live.gateway_stack.aclose()
    records = await stored_records(live)
    async with notary_of(live):
        await until(lambda: signed_to(live, len(records)))
        await _rewrite(live, len(records) - 1, records[:-1])
        await _state(live, "refused")
        await _rewrite(live, len(records), records)
        assert (await _state(live, "signing")).alarms == []


@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("is_trimmed", [False, True])
async def test_an_accepted_restore_begins_a_new_era(live, is_running, is_trimmed):
    """The old evidence stays under another name; every new checkpoint names what was before."""
    last = await _talk(live, 20)
    await live.stack.aclose()
    await live.gateway_stack.aclose()
    async with notary_of(live):
        pass
    records = await stored_records(live)
    old = checkpoints_of(live)[-1]
    assert old.size >= last
    kept = records[:-4]
    await _rewrite(live, len(kept), kept[5:] if is_trimmed else kept)

    async with notary_of(live):
        await _state(live, "refused")
        if is_running:
            assert await ops.accept_restore(live.system, "a test", evidence_of(live)) == [0]
    if not is_running:
        assert await ops.accept_restore(live.system, "a test", evidence_of(live)) == [0]
    await live.start_gateway()
    await live.run("bob")
    last = await _talk(live)
    async with notary_of(live):
        await until(lambda: signed_to(live, last))
        with pytest.raises(Conflict):
            await ops.accept_restore(live.system, "again", evidence_of(live))

    now = check_evidence(live)
    assert now[: len(kept)] == kept
    assert now[5 if is_trimmed else 0 :] == await stored_records(live)
    assert {(found.era.number, found.era.before) for found in checkpoints_of(live)} == {(1, old.state)}
    assert read_era(evidence_of(live) / "p0").before == old.state
    text = (evidence_of(live) / "p0" / "era").read_text()
    assert "a test" in text
    assert "@" in text
    before = evidence_of(live) / "p0.era1"
    assert (before / "open.jsonl").read_bytes().split(b"\n")[:-1] == records
    assert not (evidence_of(live) / ".eras").exists()


async def test_a_restore_is_not_accepted_where_the_evidence_does_not_reach(live):
    """A store that begins after everything that is in the folder: nothing is put aside."""
    await live.stack.aclose()
    await live.gateway_stack.aclose()
    async with notary_of(live):
        pass
    records = await stored_records(live)
    seq = len(records) + 10
    await _rewrite(live, seq, [b'{"seq":%d,"time":1,"prev":"%s"}' % (seq, b"0" * 64)])

    with pytest.raises(EvidenceDamaged, match="does not reach"):
        await ops.accept_restore(live.system, "a test", evidence_of(live))

    assert check_evidence(live) == records


async def test_rotation_is_signed_by_both_keys_and_taken_up_at_once(live):
    """The running notary signs with the new key; whoever has the first can follow."""
    async with notary_of(live):
        last = await _talk(live)
        await until(lambda: signed_to(live, last))
        first = CheckpointKeys(evidence_of(live), live.system.target.keys_dir, live.store.namespace)
        made = CheckpointKeys(evidence_of(live), live.system.target.keys_dir, live.store.namespace).rotate()
        last = await _talk(live)
        await until(lambda: signed_to(live, last))

    with EvidenceReader(evidence_of(live), 0) as reader:
        notes = [Note.parse(data) for data in reader.checkpoints()]
    assert notes[0].signed_by([first.public[0], made]) == [first.public[0]]
    assert notes[-1].signed_by([first.public[0], made]) == [made]
    (rotation,) = notes_in((evidence_of(live) / "rotations").read_bytes())
    assert Note.parse(rotation).text == f"mas audit key rotation\n{made}\n"
    assert Note.parse(rotation).signed_by([first.public[0], made]) == [first.public[0], made]
    assert (evidence_of(live) / "audit.pub").read_text() == f"{first.public[0]}\n{made}\n"
    check_evidence(live)


async def test_a_lost_key_is_replaced_only_when_somebody_says_so(live):
    """The new key is not vouched for."""
    async with notary_of(live):
        await _talk(live)
    (live.system.target.keys_dir / "audit-0.key").unlink()
    keys = CheckpointKeys(evidence_of(live), live.system.target.keys_dir, live.store.namespace)

    made = keys.rotate(is_old_lost=True)

    (rotation,) = notes_in((evidence_of(live) / "rotations").read_bytes())
    assert Note.parse(rotation).signed_by(keys.public) == [made]
    async with notary_of(live):
        last = await _talk(live)
        await until(lambda: signed_to(live, last))


async def test_the_local_clock_does_not_matter(live, monkeypatch):
    """It jumps by hours in both directions: checkpoints keep the server's time, and none is late."""
    real = time.time
    for jump in (3600.0, -7200.0, 86_400.0):
        last = await _talk(live)
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda jump=jump: real() + jump)
            patch.setattr(time, "time_ns", lambda jump=jump: int((real() + jump) * 1e9))
            async with notary_of(live):
                await until(lambda last=last: signed_to(live, last))

    now = await live.store.connection.time_ms()
    times = [found.time for found in checkpoints_of(live)]
    assert times == sorted(times)
    assert now - 60_000 < times[0] <= times[-1] <= now


async def test_the_store_may_be_away(tmp_path):
    """The notary waits for it, and goes on when it is back."""
    async with (
        embedded_server("durable") as server,
        live_system(server.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as live,
    ):
        await live.run("bob")
        async with notary_of(live):
            last = await _talk(live)
            await until(lambda: signed_to(live, last))
            os.kill(server.pid, signal.SIGKILL)
            last = await until(lambda: _talk_again(live), 60)
            await until(lambda: signed_to(live, last))
        assert check_evidence(live) == await stored_records(live)


async def _talk_again(live):
    try:
        return await _talk(live, 1)
    except MasError:
        return 0
