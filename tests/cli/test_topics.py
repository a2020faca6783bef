"""`mas topic` on a running system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PATTERN = "topic:cli.>"


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)
    return running_project


def test_what_is_published_is_listed_and_can_be_heard(mas):
    """Only who may publish does; the log is shown from the beginning, from a number, and from a durable place."""
    refused = mas("topic", "publish", "cli.orders", "-F", "n=1", "-o", "json")
    assert (refused.code, json.loads(refused.err)["error"]["code"]) == (5, "forbidden")
    assert "mas rbac allow operator topic:cli.orders --action publish" in refused.err
    for action in ("publish", "subscribe"):
        assert mas("rbac", "allow", "operator", PATTERN, "--action", action).code == 0

    assert mas("topic", "publish", "cli.orders", "-F", "n=1", "--dry-run").code == 0
    assert mas("topic", "publish", "cli.orders", "-F", "n=1").code == 0
    many = mas(
        "topic", "publish", "cli.orders", "-F", "n={{count}}", "--template", "--count", "2", "-o", "json"
    )
    assert (many.code, len(many.json)) == (0, 2)
    for n in "34":
        assert mas("topic", "publish", "cli.orders", "-F", f"n={n}").code == 0

    heard = mas("topic", "subscribe", "cli.*", "--from", "beginning", "--count", "5", "-o", "jsonl")
    lines = [json.loads(line) for line in heard.out.splitlines()]
    assert [(line["number"], line["topic"], line["from"]) for line in lines] == [
        (number, "cli.orders", "operator") for number in range(1, 6)
    ]
    assert [line["data"]["n"] for line in lines] == ["1", "1", "2", "3", "4"]
    places = [
        mas(
            *("topic", "subscribe", "cli.>", "--durable", "--from", "4"),
            *("--count", "1", "--for", "10s", "-o", "jsonl"),
        ).out
        for _ in range(2)
    ]
    assert [json.loads(place)["number"] for place in places] == [4, 5]

    [row] = mas("topic", "list", "cli.>", "-o", "json").json
    assert (row["name"], row["last"], row["kept_from"], row["when_full"]) == ("cli.orders", 5, 1, "trim")
    assert row["subscribers"] == 1
    assert row["bytes"] > 0
    assert (row["age"], row["max_messages"]) == (86400.0, 1_000_000)
    assert "cli.orders" in mas("topic", "list").out


def test_a_name_that_cannot_be_is_a_matter_of_usage(mas):
    """Names and patterns are looked at before anybody is asked."""
    assert mas("topic", "publish", "cli..x").code == 2
    assert mas("topic", "subscribe", "cli.>.x", "--for", "1s").code == 2
    assert mas("topic", "subscribe", "cli.x", "--from", "yesterday", "--for", "1s").code == 2
