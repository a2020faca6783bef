"""`mas bus replay`: what was delivered goes out again where its payload was kept."""

import asyncio

import msgspec
import pytest

from mas_core.ops.system import System
from mas_core.settings.target import resolve_target


@pytest.fixture(autouse=True)
def inside(running_project, monkeypatch):
    """In the folder of the running system, which keeps copies of the payloads of `again.*`."""
    monkeypatch.chdir(running_project)

    async def keep() -> None:
        async with System(resolve_target(config=running_project, environ={})) as system:
            await system.policy.change(
                lambda document: msgspec.structs.replace(document, audit_payloads={"again.*": ""})
            )

    asyncio.run(keep())


def test_what_was_delivered_goes_out_again(mas):
    """The same payloads, oldest first, as new messages to another agent; a dry run sends nothing."""
    for text in ("one", "two"):
        assert mas("send", "sleeper", "again.first", "-F", f"text={text}").code == 0
    assert mas("send", "sleeper", "not.kept").code == 0
    words = ("bus", "replay", "--agent", "sleeper", "--to", "outsider")

    tried = mas(*words, "--dry-run", "-o", "json")
    assert [row["type"] for row in tried.json] == ["again.first", "again.first"]
    assert mas("bus", "inspect", "outsider", "-o", "json").json == []
    ran = mas(*words, "-o", "json")

    assert (ran.code, [row["decision"] for row in ran.json]) == (0, ["allowed", "allowed"])
    assert "1 messages have no copy" in ran.err
    rows = mas("bus", "inspect", "outsider", "--payload", "-o", "json").json
    assert [row["payload"]["text"] for row in rows] == ["one", "two"]
    assert {row["id"] for row in rows}.isdisjoint(row["id"] for row in tried.json)


def test_what_cannot_be_replayed_is_said(mas):
    """An unknown agent, one of whom nothing was kept, and messages that are refused now."""
    assert mas("send", "silent", "again.second").code == 0

    assert mas("bus", "replay", "--agent", "nobody").code == 6
    assert mas("bus", "replay", "--agent", "calculator").code == 6
    assert mas("bus", "replay", "--agent", "silent", "--as", "outsider").code == 8
    assert mas("bus", "replay", "--agent", "silent", "--type", "[").code == 2
