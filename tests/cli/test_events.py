"""`mas event`, on a running system and on what was kept of one."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.running_system import HOSTILE

from mas_cli import app
from mas_core.events.store import EventStore
from mas_core.model.event import Event
from mas_core.ops.event_recorder import record_events
from mas_core.settings.private_files import private_dir
from mas_core.settings.target import resolve_target

KEPT = [
    Event("order.created", "shop", {"amount": 120}, "orders.eu", "e1", 1_700_000_000_000),
    Event("order.paid", "shop", {"amount": 90}, "orders.us", "e2", 1_700_000_001_000),
    Event("mas.agent.gone", "mas", {"agent": "billing"}, "", "e3", 1_700_000_002_000),
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder of a project of which events were kept and nothing runs."""
    folder = tmp_path / "work" / "kept"
    assert app.main(["init", str(folder)]) == 0
    monkeypatch.chdir(folder)
    asyncio.run(keep(folder, KEPT))
    return folder


async def keep(folder, events):
    """Put events into the store of a project."""
    private_dir(folder / ".mas")
    async with EventStore(folder / ".mas" / "events" / "events.sqlite") as store:
        await store.append_many(events)


def test_list_shows_the_newest_first_by_what_is_asked_for(project, mas):
    """By type, topic, source, time and expression; a limit says that there is more."""
    assert [row["id"] for row in mas("event", "list", "-o", "json").json] == ["e3", "e2", "e1"]
    for flags, wanted in {
        ("--type", "order.*"): ["e2", "e1"],
        ("--topic", "orders.>", "--oldest-first"): ["e1", "e2"],
        ("--source", "mas", "--source", "shop", "--type", "mas.>"): ["e3"],
        ("--filter", "data.amount > 100"): ["e1"],
        ("--since", "2023-11-14T22:13:21Z", "--until", "2023-11-14T22:13:22Z"): ["e2"],
        ("--limit", "1"): ["e3"],
        ("--since", "1h"): [],
    }.items():
        assert [row["id"] for row in mas("event", "list", *flags, "-o", "json").json] == wanted, flags
    assert "only 1 events are shown" in mas("event", "list", "--limit", "1").err
    (first,) = mas("event", "list", "--type", "order.created", "-o", "json").json
    assert first == {
        "seq": 1,
        "time": "2023-11-14T22:13:20.000Z",
        "type": "order.created",
        "source": "shop",
        "topic": "orders.eu",
        "data": {"amount": 120},
        "id": "e1",
        "extensions": {},
    }


def test_what_cannot_be_asked_is_refused_with_its_place(project, mas):
    """As JSON with line and column, and exit code 2."""
    ran = mas("event", "list", "--filter", "data.amount >", "-o", "json")

    assert (ran.code, ran.error["code"]) == (2, "filter_invalid")
    assert ran.error["details"] == {"line": 1, "column": 14}
    assert mas("event", "list", "--type", "a.>.b").code == 2
    assert "no event has 'dta'" in mas("event", "list", "--filter", "dta.amount > 1").err
    assert mas("event", "tail", "--buffer", "0").code == 2


def test_where_nothing_was_kept_the_list_is_empty(project, mas):
    """And nothing is made; it says how to begin. A store that is no database is exit code 3."""
    store = project / ".mas" / "events" / "events.sqlite"
    store.write_bytes(b"no database" * 1000)
    for name in ("events.sqlite-wal", "events.sqlite-shm"):
        store.with_name(name).unlink(missing_ok=True)
    assert (mas("event", "list").code, mas("event", "tail", "--for", "10ms").code) == (3, 3)
    store.unlink()
    ran = mas("event", "list", "-o", "json")

    assert (ran.code, ran.json) == (0, [])
    assert "mas event record" in mas("event", "list").err
    assert not store.exists()


def test_tail_follows_and_skips_only_what_it_may(project, mas):
    """From a moment on; with a buffer the oldest go, and it says how many."""
    ran = mas("event", "tail", "--since", "2023-11-14", "--type", "order.*", "--count", "2", "-o", "jsonl")
    assert [line.split('"id":"')[1][:2] for line in ran.out.splitlines()] == ["e1", "e2"]

    ran = mas("event", "tail", "--since", "2023-11-14", "--buffer", "1", "--count", "1", "-o", "jsonl")
    assert '"e3"' in ran.out
    assert "2 skipped" in ran.err

    later = threading.Timer(0.2, lambda: asyncio.run(keep(project, [Event("late", "s", 1)])))
    later.start()
    ran = mas("event", "tail", "--count", "1", "--for", "20s", "-o", "jsonl")
    later.join()
    assert '"type":"late"' in ran.out


def test_hostile_data_is_shown_as_text(project, mas):
    """Whatever an event holds, a terminal obeys nothing of it."""
    asyncio.run(keep(project, [Event("x", "s", {"text": HOSTILE})]))

    out = mas("event", "list").out + mas("event", "list", "-o", "csv").out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_events_go_through_the_gateway_and_come_back(running_project, mas, monkeypatch):
    """Emitted under the policy, kept by the recorder, replayed to an agent; each refusal has its exit code."""
    monkeypatch.chdir(running_project)
    ran = mas("event", "emit", "order.created", "-o", "json")
    assert (ran.code, ran.error["hint"][0]) == (6, "mas event record")

    with recorder(running_project):
        emitted = mas(
            "event", "emit", "order.created", '{"amount":120}', "--topic", "orders.eu", "-o", "json"
        )
        assert emitted.json["decision"] == "allowed"
        tailed = mas(
            "event",
            "tail",
            "--since",
            "1h",
            "--type",
            "order.*",
            "--count",
            "1",
            "--for",
            "20s",
            "-o",
            "jsonl",
        )
        assert emitted.json["id"] in tailed.out
        assert mas("event", "emit", "order.paid", "--as", "outsider").code == 5
        assert mas("event", "record").code == 7
        assert "would be delivered" in mas("event", "emit", "order.paid", "--dry-run").err
        shown = mas("event", "replay", "--type", "order.*", "--speed", "x10", "-o", "json").json
        assert [(row["type"], row["source"], row["topic"]) for row in shown] == [
            ("order.created", "operator", "orders.eu")
        ]
        to = ("event", "replay", "--type", "order.*", "-o", "json", "--to")
        assert [row["decision"] for row in mas(*to, "notebook").json] == ["allowed"]
        assert mas(*to, "notebook", "--as", "outsider").code == 5
        assert mas(*to, "event-recorder").code == 2
        assert mas(*to, "nobody").code == 6
        assert mas(*to, "notebook", "--dry-run").json[0]["data"] == {"amount": 120}


class recorder:  # noqa: N801 - it is used like a function
    """Runs the recorder of a project within the block, in a thread of its own."""

    def __init__(self, folder):
        self._folder = folder
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        target = resolve_target(config=self._folder, environ={})
        await record_events(target, self._stop, lambda _: self._ready.set())

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(20)

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
