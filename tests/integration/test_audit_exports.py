"""Queries and exports over the store and the evidence folder alike."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import resource
import signal
import stat
import tracemalloc

import pyarrow.parquet as pq
import pytest
from support.evidence import evidence
from support.systems import LiveSystem, live_system

from mas_core.audit.export import CSV_COLUMNS
from mas_core.audit.index_keeper import IndexKeeper
from mas_core.errors import ConfigurationError, Conflict, LockHeld, MessageNotFound, UnknownFormat, UsageError
from mas_core.model.message import AgentMessage
from mas_core.ops import audit, audit_bookmarks, audit_evidence, audit_exports, audit_files
from mas_core.ops.audit import AuditFilter
from mas_core.ops.audit_exports import Export, ExportRequest
from mas_core.ops.gateway_service import GatewayService
from mas_core.store.records import AuditBlock

COUNT = 700


@pytest.fixture
async def running():
    """A system in which alice and bob have sent a good many messages."""
    async with live_system(
        "memory://", agents=("alice", "bob", "carol"), allow=[("alice", "carol"), ("bob", "carol")]
    ) as system:
        alice, bob = await system.client("alice"), await system.client("bob")
        await alice.send_many("carol", "invoice.create", [{"n": n} for n in range(COUNT)])
        await bob.send("carol", "task.run", {})
        with pytest.raises(Exception, match="may not"):
            await bob.send("alice", "task.run", {})
        yield system


async def stored(system: LiveSystem) -> list[bytes]:
    """All records of the store."""
    found: list[bytes] = []
    async for block in system.store.records.audit_blocks(0):
        found += block.records()
    return found


async def keep(system: LiveSystem, count: int | None = None, **options) -> list[bytes]:
    """Write the first records into an evidence folder beside the keys; all records of the store."""
    records = await stored(system)
    folder = system.folder / ".mas" / "audit"
    evidence(folder, records[:count], **{"every": 100, "segment_records": 300, **options})
    keeper = IndexKeeper(folder)
    keeper.take(0, records[:count])
    keeper.close()
    return records


async def trim(system: LiveSystem, seq: int) -> None:
    """Take the records before this one out of the store, block by block."""
    await system.store.connection.call("XTRIM", f"{system.store.namespace}:{{0}}:audit", "MINID", f"{seq}-0")


async def numbers(system: LiveSystem, wanted: AuditFilter = audit.EVERYTHING, **options) -> list[int]:
    """Numbers of the records that a query finds."""
    return [item.record.seq async for item in audit.records(system.system, wanted, **options)]


@pytest.mark.parametrize("kept", [0, 300, 400, None])
@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_record_that_is_in_both_comes_once(running, kept, newest_first):
    """However many of them the evidence folder has; and from the folder alone where the store was trimmed."""
    expected = await numbers(running, newest_first=newest_first)
    told: list[str] = []
    if kept != 0:
        await keep(running, kept)

    assert await numbers(running, newest_first=newest_first, warn=told.append) == expected
    if kept != 0:
        await trim(running, 250)
        assert len(await stored(running)) < len(expected)
        assert await numbers(running, newest_first=newest_first, warn=told.append) == expected
    assert told == []


async def test_every_filter_holds_in_both_places(running):
    """Sender, target, type, decision, finding and time, over a folder that holds a part."""
    await keep(running, 400)

    by_alice = await numbers(running, AuditFilter(sender="alice", kind="message"))
    assert len(by_alice) == COUNT
    assert await numbers(running, AuditFilter(sender="alice", target="nobody")) == []
    (denied,) = await numbers(running, AuditFilter(decision="denied"))
    assert await numbers(running, AuditFilter(message_type="task.*", decision="denied")) == [denied]
    assert await numbers(running, AuditFilter(finding="pci")) == []
    time = (await audit.get(running.system, str(denied)))[0].record.time
    assert denied in await numbers(running, AuditFilter(since=time, until=time + 1))


async def test_records_are_counted_by_a_field(running):
    """All of them, whatever is asked."""
    await keep(running, 400)

    counted = await audit.count(running.system, AuditFilter(kind="message"), by="sender")
    assert counted == {"alice": COUNT, "bob": 2}
    assert await audit.count(running.system, AuditFilter(decision="denied")) == {"": 1}
    assert sum((await audit.count(running.system, by="hour")).values()) == len(await stored(running))
    with pytest.raises(UsageError, match="counted by"):
        await audit.count(running.system, by="prev")


async def test_single_records_are_found_where_they_are(running):
    """By id and by number, in the folder, in the store, and when the store was trimmed."""
    records = await keep(running, 400)
    await trim(running, 300)
    for number in (1, 299, 400, 401, len(records)):
        (found,) = await audit.get(running.system, str(number))
        assert found.text == records[number - 1]
        if found.record.message_id:
            assert found.text in [
                item.text for item in await audit.get(running.system, found.record.message_id)
            ]
    with pytest.raises(MessageNotFound):
        await audit.get(running.system, "no-such-id")


async def test_what_neither_has_is_told(running):
    """A query is never silently short."""
    await keep(running)
    next((running.folder / ".mas/audit/p0").glob("*301*.zst")).unlink()
    whole = await numbers(running, newest_first=False)
    await trim(running, len(whole) + 1)
    told: list[str] = []

    found = await numbers(running, newest_first=False, warn=told.append)

    assert found == [seq for seq in whole if not 301 <= seq <= 600]
    assert "301 to 600" in told[0]
    assert "neither" in told[0]


async def test_a_store_that_is_not_the_one_that_was_signed_is_told(running):
    """Rolled back, or another one."""
    records = await keep(running)
    told: list[str] = []
    key = f"{running.store.namespace}:{{0}}:meta"
    await running.gateway_stack.aclose()

    await running.store.connection.call("HSET", key, "audit_seq", "100")
    await numbers(running, warn=told.append)
    await running.store.connection.call("HSET", key, "audit_seq", str(len(records)), "audit_head", "0" * 64)
    await numbers(running, warn=told.append)

    assert "rolled back" in told[0]
    assert "does not go on" in told[1]


def file_rows(path, format_name):
    """The rows of an export file."""
    content = path.read_bytes()
    if format_name == "csv":
        return list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    if format_name == "parquet":
        return pq.read_table(path).to_pylist()
    return (
        json.loads(content) if format_name == "json" else [json.loads(line) for line in content.splitlines()]
    )


@pytest.mark.parametrize("format_name", audit_exports.FORMATS)
async def test_an_export_has_a_manifest(running, tmp_path, format_name):
    """Rows, sequence range, digest, filter and the newest checkpoint that covers it."""
    records = await keep(running, every=1000)
    path = tmp_path / "out"
    request = ExportRequest(format_name, AuditFilter(sender="alice"))

    done = await audit_files.export_to_file(running.system, request, path)

    manifest = json.loads(done.manifest.read_bytes())
    rows = file_rows(path, format_name)
    (part,) = manifest["partitions"]
    assert manifest["rows"] == len(rows) == part["rows"] >= COUNT
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest["filter"] == {"sender": "alice"}
    assert (part["first"], part["last"]) == (int(rows[0]["seq"]), int(rows[-1]["seq"]))
    assert (part["read"]["first"], part["read"]["last"]) == (1, len(records))
    assert part["chain_holds"]
    assert part["checkpoint_covers"]
    assert part["checkpoint"].splitlines()[1] == str(len(records))
    assert {stat.S_IMODE(item.stat().st_mode) for item in (path, done.manifest)} == {0o600}
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out", "out.manifest.json"]


async def test_parquet_keeps_the_stored_bytes(running, tmp_path):
    """Beside a column for each field."""
    records = await stored(running)
    path = tmp_path / "audit.parquet"

    await audit_files.export_to_file(running.system, ExportRequest("parquet"), path)

    table = pq.read_table(path)
    assert table.column_names == ["partition", "place", *CSV_COLUMNS, "stored"]
    assert table["stored"].to_pylist() == records
    assert str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]"


async def test_cloud_events_hold_the_stored_bytes(running):
    """Version 1.0: type, source, id, time; the data is what was hashed."""
    records = await stored(running)
    pieces: list[bytes] = []

    await Export(running.system, ExportRequest("jsonl", cloudevents=True)).run(pieces.append)

    lines = b"".join(pieces).splitlines()
    event = json.loads(lines[-1])
    assert {**event, "data": 0, "time": 0} == {
        "specversion": "1.0",
        "id": str(len(records)),
        "source": f"/mas/{running.store.namespace}/audit/0",
        "type": "mas.audit.message",
        "datacontenttype": "application/json",
        "subject": "alice",
        "time": 0,
        "data": 0,
    }
    assert all(record in line for record, line in zip(records, lines, strict=True))
    for format_name in ("csv", "parquet"):
        with pytest.raises(UnknownFormat):
            Export(running.system, ExportRequest(format_name, cloudevents=True))


class Stopped(BaseException):
    """As when somebody interrupts it."""


@pytest.mark.parametrize("format_name", ["csv", "json", "jsonl"])
async def test_an_interrupted_export_goes_on_to_the_same_bytes(running, tmp_path, monkeypatch, format_name):
    """Also when the log has grown since; the file that was there stays until it is complete."""
    await keep(running, 400)
    monkeypatch.setattr(audit_exports, "MARK_EVERY", 128)
    path = tmp_path / "out"
    request = ExportRequest(format_name)
    whole = tmp_path / "whole"
    await audit_files.export_to_file(running.system, request, whole)
    path.write_bytes(b"before")
    texts = audit_exports.PartitionSource.texts

    async def stopping(self, first, last):
        count = 0
        async for item in texts(self, first, last):
            count += 1
            if count == 4:
                raise Stopped
            yield item

    monkeypatch.setattr(audit_exports.PartitionSource, "texts", stopping)
    with pytest.raises(Stopped):
        await audit_files.export_to_file(running.system, request, path)
    monkeypatch.setattr(audit_exports.PartitionSource, "texts", texts)
    assert path.read_bytes() == b"before"
    assert audit_files.interrupted(path)
    await (await running.client("bob")).send("carol", "task.run", {})

    done = await audit_files.export_to_file(running.system, request, path, resume=True)

    assert path.read_bytes() == whole.read_bytes()
    assert done.result.sha256 == hashlib.sha256(whole.read_bytes()).hexdigest()
    assert done.result.rows == len(file_rows(whole, format_name))
    assert not list(tmp_path.glob(".*"))


async def test_what_cannot_be_gone_on_with_begins_anew(running, tmp_path):
    """Without an interrupted export, and with one of another filter: said, and whole."""
    told: list[str] = []
    path = tmp_path / "out"
    (tmp_path / ".out.part").write_bytes(b"rubbish")
    (tmp_path / ".out.part.json").write_bytes(b'{"request":{},"log":"x","progress":{"partitions":[]}}')

    done = await audit_files.export_to_file(
        running.system, ExportRequest(), path, resume=True, warn=told.append
    )

    assert "begins anew" in told[0]
    assert path.read_bytes() == b"".join(record + b"\n" for record in await stored(running))
    assert done.result.partitions[0].result.ok


async def test_a_full_disk_leaves_the_old_file(running, tmp_path):
    """And says what is wrong; nothing half-written is left."""
    path = tmp_path / "out"
    path.write_bytes(b"before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(ConfigurationError, match="cannot be written"):
            await audit_files.export_to_file(running.system, ExportRequest(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)

    assert path.read_bytes() == b"before"
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


async def test_two_exports_to_one_file_do_not_mix(running, tmp_path):
    """The second is refused."""
    path = tmp_path / "out"
    with audit_files._draft(path), pytest.raises(LockHeld):
        await audit_files.export_to_file(running.system, ExportRequest(), path)


async def test_a_link_in_the_way_of_the_draft_is_not_followed(running, tmp_path):
    """Whoever may write to the folder cannot lead an export elsewhere."""
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / ".out.part").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigurationError):
        await audit_files.export_to_file(running.system, ExportRequest(), tmp_path / "out")

    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


async def test_an_export_goes_on_after_the_last_one(running):
    """By a bookmark: nothing twice, nothing left out, and a chain that continues."""
    records = await keep(running, 400)
    first = await Export(running.system, ExportRequest()).run(lambda _: None)
    audit_bookmarks.keep_bookmark(running.system, "siem", first.positions)
    await (await running.client("bob")).send("carol", "task.run", {})
    pieces: list[bytes] = []

    after = audit_bookmarks.read_bookmark(running.system, "siem")
    done = await Export(running.system, ExportRequest(after=after)).run(pieces.append)

    more = (await stored(running))[len(records) :]
    assert b"".join(pieces) == b"".join(record + b"\n" for record in more)
    assert done.partitions[0].result.ok
    assert stat.S_IMODE(audit_bookmarks.bookmark_path(running.system, "siem").stat().st_mode) == 0o600


async def test_a_bookmark_notices_a_log_that_was_rolled_back_or_rewritten(running):
    """Its end is before the bookmark, or the record after it continues another one."""
    end = len(await stored(running))
    beyond = {0: audit_exports.Position(end + 5, "0" * 64)}
    with pytest.raises(Conflict, match="rolled back"):
        await Export(running.system, ExportRequest(after=beyond)).run(lambda _: None)

    other = {0: audit_exports.Position(end - 5, "0" * 64)}
    done = await Export(running.system, ExportRequest(after=other)).run(lambda _: None)
    assert not done.partitions[0].result.ok


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "x" * 65, "a\nb"])
async def test_a_bookmark_stays_in_its_folder(running, name):
    """S25: names that lead elsewhere are refused."""
    with pytest.raises(UsageError):
        audit_bookmarks.bookmark_path(running.system, name)


async def test_a_span_of_time_is_found_without_reading_what_lies_before(running):
    """And is verified from the record before it on."""
    await keep(running)
    (middle,) = await audit.get(running.system, "500")

    done = await Export(running.system, ExportRequest(wanted=AuditFilter(since=middle.record.time))).run(
        lambda _: None
    )

    (part,) = done.partitions
    assert 1 < part.begin.seq + 1 == part.first <= 500
    assert part.result.ok


async def test_evidence_that_was_copied_verifies_alone(running, tmp_path):
    """S30: with segments, hashes, checkpoints and public keys, and no private key."""
    records = await keep(running)
    target = tmp_path / "copy"

    (copied,) = audit_evidence.copy_evidence(running.system, target)

    assert (copied.first, copied.last) == (1, len(records))
    names = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert {"audit.pub", "system", "p0/checkpoints", "p0/hashes", "p0/open.jsonl"} <= names
    assert not [name for name in names if "index" in name or "lock" in name or name.endswith(".key")]
    with pytest.raises(Conflict):
        audit_evidence.copy_evidence(running.system, target)


async def test_memory_of_an_export_does_not_grow(running):
    """A log sixteen times as long takes no more of it."""
    text = (await stored(running))[0]

    async def peak(times: int) -> int:
        records = running.store.records
        original = records.audit_blocks

        async def many(partition, **options):
            for number in range(1, times + 1):
                yield AuditBlock(number, "", text)

        records.audit_blocks = many
        try:
            tracemalloc.start()
            await Export(running.system, ExportRequest("csv")).run(lambda _: None)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            records.audit_blocks = original

    await peak(100)
    assert await peak(3200) < 2 * await peak(200)


async def test_a_program_asks_for_senders_targets_and_all(tmp_path):
    """The Python API answers from folder and store alike, newest first; records come once, none is left out."""
    keys = tmp_path / ".mas" / "keys"
    async with GatewayService(redis_url=f"memory://{tmp_path.name}", keys_dir=keys) as gateway:
        token = await gateway.admit("alice")
        await gateway.admit("bob")
        for number in range(5):
            await gateway.handle_message(AgentMessage("alice", "bob", "x", {"n": number}), token)
        records = [text async for block in gateway.store.records.audit_blocks(0) for text in block.records()]
        asked = await gateway.audit.query_all(count=0)
        evidence(tmp_path / ".mas" / "audit", records[: len(records) // 2])

        again = await gateway.audit.query_all(count=0)
        assert [item for item in again if item in asked] == asked
        assert len({item.seq for item in again}) == len(again)
        assert await gateway.audit.query_by_sender("nobody") == []
        sent = [item for item in await gateway.audit.query_by_sender("alice") if item.kind == "message"]
        taken = [item for item in await gateway.audit.query_by_target("bob") if item.kind == "message"]
        assert sent == taken
        assert len(sent) == 5
        assert len(await gateway.audit.query_all(count=2)) == 2
