"""Files beside the audit: whole lines, each once, by several processes, on bad disks and after crashes."""

from __future__ import annotations

import json
import multiprocessing
import resource
import signal
import stat
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mas_core.audit.chain import Chain
from mas_core.audit.sinks import feeder
from mas_core.audit.sinks.daily_files import ActivityLog, DailyFiles, kinds_of
from mas_core.audit.sinks.feeder import SinkFeeder
from mas_core.audit.sinks.lines_file import LinesFile
from mas_core.audit.sinks.record_file import RecordFile, file_of
from mas_core.audit.sinks.required_files import RequiredFiles
from mas_core.audit.verify import ChainVerifier
from mas_core.errors import SinkBehind, SinkUnavailable, UsageError
from mas_core.model.audit_record import AuditRecord
from mas_core.settings.gateway_settings import AuditSettings

NOON = 1_795_262_400_000
"""2026-11-21T12:00:00Z."""


def records(count: int, chain: Chain | None = None, **fields: object) -> list[bytes]:
    chain = chain or Chain()
    return [chain.append(AuditRecord(0, NOON + number, **fields)) for number in range(count)]


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _write(path: Path, name: int, count: int) -> None:
    file = LinesFile(path, 5_000)
    for number in range(count):
        file.append([b"%d %d %s" % (name, number, b"x" * (number % 50))])


def test_several_processes_write_whole_lines_and_lose_none(tmp_path):
    """Also while the file is put away again and again because it is full."""
    path = tmp_path / "a.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, name, 300)) for name in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    files = [*LinesFile(path).full_files(), path]
    found = [line.split(b" ") for file in files for line in lines(file)]

    assert len(files) > 2
    assert [file.name for file in files[:2]] == ["a.000001.jsonl", "a.000002.jsonl"]
    for name in range(3):
        assert [int(line[1]) for line in found if line[0] == b"%d" % name] == list(range(300))
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_what_a_killed_writer_left_is_cut_to_whole_lines(tmp_path):
    """A line without an end was never told to be there."""
    path = tmp_path / "a.jsonl"
    LinesFile(path).append([b"one", b"two"])
    with path.open("ab") as file:
        file.write(b"thr")

    LinesFile(path).append([b"three"])

    assert lines(path) == [b"one", b"two", b"three"]


def test_what_does_not_fit_on_the_disk_is_taken_back(tmp_path):
    """A part of a line would spoil the next one."""
    path = tmp_path / "a.jsonl"
    file = LinesFile(path)
    file.append([b"one"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        with pytest.raises(OSError, match="too large"):
            file.append([b"x" * 100])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    file.append([b"two"])

    assert lines(path) == [b"one", b"two"]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
    """A file in a folder of logs does not close that folder to others; new folders are private."""
    (tmp_path / "shared").mkdir(mode=0o755)
    LinesFile(tmp_path / "shared" / "a.jsonl").append([b"x"])
    LinesFile(tmp_path / "made" / "a.jsonl").append([b"x"])

    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700


def test_a_link_is_not_followed(tmp_path):
    """Somebody else's file is not written."""
    other = tmp_path / "other"
    other.write_text("mine\n")
    (tmp_path / "a.jsonl").symlink_to(other)

    with pytest.raises(OSError):
        LinesFile(tmp_path / "a.jsonl").append([b"x"])

    assert other.read_text() == "mine\n"


def test_a_copy_holds_the_stored_bytes_once_and_verifies(tmp_path):
    """Given again, in other pieces, by another writer, over several files."""
    written = records(300)
    path = tmp_path / "audit.jsonl"
    RecordFile(path, 10_000).append(written[:100])
    RecordFile(path, 10_000).append(written[50:200])
    again = RecordFile(path, 10_000)
    again.append(written[190:])
    again.append(written)

    files = [*LinesFile(path).full_files(), path]
    found = [line for file in files for line in lines(file)]
    verifier = ChainVerifier()
    for seq, line in enumerate(found, 1):
        verifier.feed(seq, line)

    assert len(files) > 2
    assert found == written
    assert verifier.finish().ok
    assert again.last_seq() == 300


def test_records_that_are_missing_are_told(tmp_path):
    """Nothing is left out in silence."""
    written = records(10)
    file = RecordFile(tmp_path / "audit.jsonl", 0)
    file.append(written[:3])

    with pytest.raises(SinkBehind) as caught:
        file.append(written[5:])

    assert caught.value.details["last_seq"] == 3
    assert file.last_seq() == 3


def test_records_of_a_batch_that_was_not_committed_are_set_aside(tmp_path):
    """The file holds the chain; what was only tried lies beside it."""
    chain = Chain()
    committed = records(3, chain)
    seq, head = chain.seq, chain.head
    tried = records(2, chain, reason="tried")
    done = records(2, Chain(seq, head), reason="done")
    path = tmp_path / "audit.jsonl"
    file = RecordFile(path, 0)
    for batch in (committed, tried, done):
        file.write_ahead(batch, 1)

    assert lines(path) == committed + done
    assert lines(tmp_path / "audit.jsonl.uncommitted") == tried


def test_an_owner_that_was_replaced_writes_nothing(tmp_path):
    """A gateway that slept must not cut what its successor wrote."""
    chain = Chain()
    first = records(2, chain)
    stale = records(1, Chain(chain.seq, chain.head), reason="stale")
    fresh = records(1, chain, reason="fresh")
    path = tmp_path / "audit.jsonl"
    RecordFile(path, 0).write_ahead(first, 1)
    RecordFile(path, 0).write_ahead(fresh, 2)

    with pytest.raises(SinkUnavailable, match="another gateway"):
        RecordFile(path, 0).write_ahead(stale, 1)

    assert lines(path) == first + fresh


def test_a_store_that_was_rolled_back_does_not_cut_the_file(tmp_path):
    """What the store forgot, the file keeps; until somebody looks, it takes nothing."""
    chain = Chain()
    written = records(5000, chain)
    path = tmp_path / "audit.jsonl"
    RecordFile(path, 0).append(written)
    forked = records(1, Chain(10, "ab" * 32), reason="forked")
    restored = Chain()
    records(10, restored)
    early = records(1, restored, reason="after a restore")

    for other in (forked, early):
        with pytest.raises(SinkUnavailable, match="other records than the store"):
            RecordFile(path, 0).write_ahead(other, 9)

    assert lines(path) == written


async def test_any_needs_one_file_and_all_need_every_one(tmp_path):
    """A file that fell behind is made up for from the store when it takes records again."""
    chain = Chain()
    batches = [records(3, chain) for _ in range(3)]
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad" / "bad.jsonl"

    async def stored(first: int):
        for batch in batches[:2]:
            if json.loads(batch[-1])["seq"] >= first:
                yield b"\n".join(batch)

    for_any = RequiredFiles([good, bad], 0, 0, 1, "any")
    await for_any.write(b"\n".join(batches[0]), 1, stored)
    bad.parent.rename(tmp_path / "kept")
    bad.parent.write_text("in the way")
    await for_any.write(b"\n".join(batches[1]), 1, stored)
    assert list(for_any.problems) == [str(bad)]
    with pytest.raises(SinkUnavailable):
        await RequiredFiles([good, bad], 0, 0, 1, "all").write(b"\n".join(batches[2]), 1, stored)

    bad.parent.unlink()
    (tmp_path / "kept").rename(bad.parent)
    await for_any.write(b"\n".join(batches[2]), 1, stored)

    assert not for_any.problems
    assert lines(good) == lines(bad) == [line for batch in batches for line in batch]


def test_partitions_have_files_of_their_own():
    """Each is one chain."""
    assert file_of(Path("a/b.jsonl"), 0, 1) == Path("a/b.jsonl")
    assert file_of(Path("a/b.jsonl"), 3, 4) == Path("a/b-p3.jsonl")


def test_each_record_goes_where_it_is_looked_for():
    """Messages, tasks, what agents do, and what went wrong."""
    wanted = {
        "message_audit": AuditRecord(1, NOON, message_id="m"),
        "agent_activity": AuditRecord(1, NOON, "agent.attach"),
        "errors": AuditRecord(1, NOON, "delivery.dead", message_id="m"),
    }

    assert {kind: kinds_of(record)[0] for kind, record in wanted.items()} == {kind: kind for kind in wanted}
    assert kinds_of(AuditRecord(1, NOON, type="task.assign")) == ["message_audit", "task_history"]
    assert kinds_of(AuditRecord(1, NOON, "operator")) == ["agent_activity"]


def test_days_are_those_of_the_records(tmp_path):
    """`YYYY-MM-DD/<kind>_YYYY-MM-DD.jsonl`, in UTC, with the partition in each line."""
    midnight = NOON + 12 * 3_600_000
    chain = Chain()
    given = [chain.append(AuditRecord(0, at)) for at in (midnight - 1, midnight)]

    DailyFiles(tmp_path).add_records(7, [*given, b"no record"])

    first = tmp_path / "2026-11-21" / "message_audit_2026-11-21.jsonl"
    second = tmp_path / "2026-11-22" / "message_audit_2026-11-22.jsonl"
    assert [json.loads(line)["seq"] for line in lines(first) + lines(second)] == [1, 2]
    assert json.loads(lines(first)[0])["partition"] == 7


def test_own_entries_are_written_and_counted(tmp_path):
    """Activity, performance, tasks and errors."""
    own = ActivityLog(tmp_path, "billing")
    own.activity("started", version="2.1")
    own.performance("latency", 1.5, "ms", agent="ledger")
    own.task("t1", "done")
    own.error("ValueError", "bad\nline")

    found = {item.kind: item for item in DailyFiles(tmp_path).statistics()}

    assert {kind: item.entries for kind, item in found.items()} == dict.fromkeys(
        ("agent_activity", "performance", "task_history", "errors"), 1
    )
    entry = json.loads(found["performance"].path.read_text())
    assert (entry["agent"], entry["metric"], entry["value"], entry["unit"]) == (
        "ledger",
        "latency",
        1.5,
        "ms",
    )
    assert json.loads(found["errors"].path.read_text())["message"] == "bad\nline"


def test_clean_up_removes_old_days_and_nothing_else(tmp_path):
    """Not what somebody else put there, not what a link leads to, and never today."""
    files = DailyFiles(tmp_path)
    for day in ("2026-11-01", "2026-11-19", "2026-11-20", "2026-11-21", "2026-12-24"):
        files.write("errors", day, [b"{}"])
    (tmp_path / "2026-11-01" / "notes.txt").write_text("mine")
    (tmp_path / "2020-01-01").symlink_to(tmp_path / "2026-11-21")
    (tmp_path / "backup").mkdir()
    today = date(2026, 11, 21)

    planned = files.clean(2, today, dry_run=True)
    assert len(list(files.files())) == 5
    removed = files.clean(2, today)

    assert planned == removed
    assert [path.parent.name for path in removed] == ["2026-11-01", "2026-11-19"]
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "2020-01-01", "2026-11-01", "2026-11-20", "2026-11-21", "2026-12-24", "backup",
    ]  # fmt: skip
    with pytest.raises(UsageError):
        files.clean(0, today)


def test_a_clock_that_jumps_removes_no_days(tmp_path):
    """Neither records from the far future nor old records make the days of now old."""
    daily = tmp_path / "logs"
    today = datetime.now(UTC).date()
    old, recent = (today - timedelta(days=age) for age in (40, 5))
    for day in (old, recent):
        DailyFiles(daily).write("errors", day.isoformat(), [b"{}"])
    settings = AuditSettings(daily=daily, daily_keep_days=30)
    ten_years = 10 * 365 * 86_400_000
    now = int(datetime.now(UTC).timestamp() * 1000)

    SinkFeeder(settings, tmp_path, 1).take(0, [Chain().append(AuditRecord(0, now - ten_years))])
    assert (daily / old.isoformat()).exists()
    (daily / ".fed.json").unlink()
    SinkFeeder(settings, tmp_path, 1).take(0, [Chain().append(AuditRecord(0, now + ten_years))])

    assert not (daily / old.isoformat()).exists()
    assert (daily / recent.isoformat()).exists()


def test_what_a_file_missed_is_made_up_for_a_piece_at_a_time(tmp_path, monkeypatch):
    """From the evidence folder, so that signing does not wait for long."""
    monkeypatch.setattr(feeder, "MADE_UP_AT_ONCE", 256)
    written = records(8000)
    evidence = tmp_path / "evidence"
    (evidence / "p0").mkdir(parents=True)
    (evidence / "p0" / "open.jsonl").write_bytes(b"\n".join(written) + b"\n")
    settings = AuditSettings(files=[tmp_path / "audit.jsonl"], daily=tmp_path / "logs")
    feed = SinkFeeder(settings, evidence, 1)
    feed.take(0, written[:10])

    lengths = []
    for number in range(7989, 8000):
        feed.take(0, written[number : number + 1])
        lengths.append(len(lines(tmp_path / "audit.jsonl")))

    daily = tmp_path / "logs" / "2026-11-21" / "message_audit_2026-11-21.jsonl"
    assert 0 < lengths[0] < 8000
    assert lines(tmp_path / "audit.jsonl") == written
    assert [json.loads(line)["seq"] for line in lines(daily)] == list(range(1, 8001))


def test_the_feeder_writes_everything_once_and_goes_on_after_a_restart(tmp_path):
    """Files and daily files, off unless they are set; what fails stops nobody."""
    settings = AuditSettings(files=[tmp_path / "audit.jsonl"], daily=tmp_path / "logs")
    written = records(30)
    SinkFeeder(settings, tmp_path / "evidence", 1).take(0, written[:20])
    SinkFeeder(settings, tmp_path / "evidence", 1).take(0, written[10:])

    daily = tmp_path / "logs" / "2026-11-21" / "message_audit_2026-11-21.jsonl"
    assert lines(tmp_path / "audit.jsonl") == written
    assert [json.loads(line)["seq"] for line in lines(daily)] == list(range(1, 31))

    (tmp_path / "file").write_text("in the way")
    SinkFeeder(AuditSettings(daily=tmp_path / "file" / "logs"), tmp_path, 1).take(0, written)
    SinkFeeder(AuditSettings(), tmp_path / "evidence", 1).take(0, written)
    assert not (tmp_path / "evidence").exists()
