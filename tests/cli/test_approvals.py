"""`mas approval` and `mas breaker` on a running system."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mas_core.ops.system import System
from mas_core.settings.target import resolve_target


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)


@pytest.fixture
def held(mas) -> Iterator:
    """Sends messages that are held; what still waits after the test is rejected."""
    rule = mas("rbac", "hold", "operator", "sleeper", "--type", "held.*", "-o", "name").out.strip()

    def send(*words: str) -> str:
        ran = mas("send", "sleeper", "held.test", *words, "-o", "json")
        assert (ran.code, ran.json["decision"]) == (0, "held")
        return ran.json["approval"]

    yield send
    assert mas("rbac", "revoke", rule).code == 0
    left = mas("approval", "list", "-o", "name").out.split()
    assert not left or mas("approval", "reject", *left, "--reason", "the test is over").code == 0


def test_a_held_message_is_listed_shown_and_approved(mas, held):
    """With everything that an approver needs; the payload only on demand."""
    approval_id = held('{"n":1}')

    (row,) = mas("approval", "list", "-o", "json").json
    shown = mas("approval", "get", approval_id, "-o", "json").json
    whole = mas("approval", "get", approval_id, "--payload", "-o", "json").json
    approved = mas("approval", "approve", approval_id, "--reason", "fine", "-o", "json")

    assert (row["id"], row["from"], row["to"], row["type"]) == (
        approval_id,
        "operator",
        "sleeper",
        "held.test",
    )
    assert (row["size"], row["findings"], row["state"]) == (7, [], "waiting")
    assert 0 < row["expires_in"] <= 3600
    assert set(row) < set(shown)
    assert "payload" not in shown
    assert whole["payload"] == {"n": 1}
    assert (approved.code, approved.json[0]["result"]) == (0, "delivered")
    assert mas("approval", "list", "-o", "json").json == []
    last = max(mas("audit", "get", row["message_id"], "-o", "json").json, key=lambda found: found["seq"])
    assert (last["kind"], last["reason"]) == ("approval.approved", "fine")


def test_a_person_is_told_how_to_go_on(mas, held):
    """A message that waits is no error, and its sender learns where it is."""
    held()

    ran = mas("send", "sleeper", "held.test")

    assert ran.code == 0
    assert "it waits for somebody's approval: mas approval get 0-" in ran.err


def test_the_second_decision_is_a_conflict(mas, held):
    """Also when the first is carried out already: exit 7, with who and what; there is nothing to show."""
    approval_id = held()
    assert mas("approval", "reject", approval_id, "--reason", "no").code == 0

    for words in (("approve", approval_id), ("reject", approval_id, "--reason", "no")):
        ran = mas("approval", *words, "-o", "json")
        assert (ran.code, ran.out, ran.error["code"]) == (7, "", "already_decided")
        assert ran.error["message"].endswith(f" has rejected {approval_id} already")
    shown = mas("approval", "get", approval_id, "-o", "json")
    assert (shown.code, shown.error["code"]) == (6, "approval_not_found")


def test_who_comes_second_at_the_same_moment_is_told_so(mas, held, monkeypatch):
    """While no gateway has taken the first decision up: exit 7, with who and what."""
    approval_id = held()
    from mas_core.model.approval import decision_field, item_field, mac_purpose
    from mas_core.registry.signed import signed

    async def decide_without_waking_the_gateway():
        async with System(resolve_target(environ={})) as system:
            field = decision_field(approval_id)
            text = msgspec.json.encode({"approved": False, "by": "ann@host", "at": 1})
            await system.store.connection.call(
                "HSET", system.store.keys.held(0), field, signed(system.keys, mac_purpose(field), text)
            )
            return item_field(approval_id), field

    _, field = asyncio.run(decide_without_waking_the_gateway())
    ran = mas("approval", "approve", approval_id, "-o", "json")
    assert (ran.code, ran.out, ran.error["code"]) == (7, "", "already_decided")
    assert ran.error["message"] == f"ann@host has rejected {approval_id} already"

    async def undo():
        async with System(resolve_target(environ={})) as system:
            await system.store.connection.call("HDEL", system.store.keys.held(0), field)

    asyncio.run(undo())


def test_an_approved_message_that_a_rule_denies_by_now(mas, held):
    """Exit 5, and it says why."""
    approval_id = held()
    rule = mas("rbac", "deny", "operator", "sleeper", "--type", "held.*", "-o", "name").out.strip()

    ran = mas("approval", "approve", approval_id, "-o", "json")

    assert mas("rbac", "revoke", rule).code == 0
    assert (ran.code, ran.out) == (5, "")
    assert ran.error["message"].startswith("approved, but not delivered: Authorization denied")
    assert ran.error["details"]["decision"] == "denied"


def test_of_several_some_may_fail(mas, held):
    """Each has its line, and the exit code is 8."""
    first, second = held(), held()

    ran = mas("approval", "approve", first, "0-999999", second, "-o", "json")

    assert ran.code == 8
    assert [row["result"] for row in ran.json] == ["delivered", "failed", "delivered"]
    assert ran.json[1]["error"]["code"] == "approval_not_found"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("get", "0-999999"), 6),
        (("approve", "0-999999"), 6),
        (("get", "nonsense"), 2),
        (("approve", "../x"), 2),
        (("approve",), 2),
        (("reject", "0-1"), 2),
    ],
)
def test_what_cannot_be_decided(mas, words, code):
    """And a rejection needs a reason."""
    assert mas("approval", *words).code == code


def test_ids_are_completed(mas, held, running_project, monkeypatch):
    """Those that wait right now."""
    from mas_cli.completion.values import approvals

    approval_id = held()

    assert (approval_id, "") in approvals([""])


@pytest.fixture
def breakers_on(mas) -> Iterator[None]:
    """A policy with breakers, as long as the test runs."""

    def switch(on: bool) -> None:
        async def change() -> None:
            async with System(resolve_target(environ={})) as system:
                await system.policy.change(
                    lambda document: msgspec.structs.replace(
                        document,
                        features=msgspec.structs.replace(document.features, circuit_breaker=on),
                    )
                )

        asyncio.run(change())

    switch(True)
    yield
    mas("breaker", "reset", "sleeper")
    switch(False)


def test_a_circuit_is_opened_and_reset_by_hand(mas, breakers_on):
    """Both in force when the command returns."""
    opened = mas("breaker", "open", "sleeper", "--for", "10m", "--reason", "migration", "-o", "json")

    (row,) = opened.json
    refused = mas("send", "sleeper", "x.y", "-o", "json")
    listed = mas("breaker", "list", "-o", "json").json
    reset = mas("breaker", "reset", "sleeper", "-o", "json").json
    again = mas("send", "sleeper", "x.y")

    assert (row["target"], row["from"], row["state"], row["why"]) == ("sleeper", None, "open", "migration")
    assert 590 < row["retry_in"] <= 600
    assert "@" in row["by"]
    assert opened.err == "undo with: mas breaker reset sleeper\n"
    assert (refused.code, refused.error["code"]) == (5, "circuit_open")
    assert 0 < refused.error["details"]["retry_after"] <= 600
    assert [item["target"] for item in listed] == ["sleeper"]
    assert [(item["target"], item["change"], item["state"]) for item in reset] == [
        ("sleeper", "closed", "closed")
    ]
    assert again.code == 0
    assert mas("breaker", "list", "-o", "json").json == []


def test_a_dry_run_opens_nothing(mas, breakers_on):
    """It says what would be."""
    ran = mas("breaker", "open", "sleeper", "--dry-run")

    assert (ran.code, ran.err) == (0, "would open the circuit of sleeper\n")
    assert mas("breaker", "list", "-o", "json").json == []


def test_what_is_off_or_not_there(mas):
    """Opening what keeps nothing back is an error; a list says that breakers are off."""
    assert mas("breaker", "open", "sleeper").code == 2
    assert "breakers are off" in mas("breaker", "list").err
    assert mas("breaker", "list", "nobody").code == 6
    assert mas("breaker", "reset", "nobody").code == 6
    assert mas("breaker", "open", "nobody", "--dry-run").code == 6
