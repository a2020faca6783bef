"""`mas reply`: it answers in place of an agent, as long as it runs."""

import json
import sys

import pytest


@pytest.fixture(autouse=True)
def inside(running_project, monkeypatch):
    """In the folder of the running system."""
    monkeypatch.chdir(running_project)


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        (["--echo"], {"n": 1}),
        (["--data", '{"fixed":true}'], {"fixed": True}),
        (["--command", "wc -w"], {"output": 2}),
        (["--command", f"{sys.executable} -c 'print(dict(a=1))'"], {"output": "{'a': 1}"}),
        (["--command", "cat"], {"n": 1}),
    ],
    ids=["echo", "data", "text", "lines", "json"],
)
def test_it_answers_what_it_is_told_to(mas, mas_process, how, answer):
    """One line a request; then it ends."""
    process = mas_process("reply", "try.*", "--as", "sleeper", *how, "--count", "1", "-o", "jsonl")
    assert mas("discover", "--wait", "20s", "--require", "4", "-o", "name").code == 0

    ran = mas("request", "sleeper", "try.one", '{"n":1}', "-o", "json")

    assert ran.json == answer
    line = json.loads(process.stdout.readline())
    assert (line["from"], line["type"], line["payload"], line["reply"]) == (
        "operator",
        "try.one",
        {"n": 1},
        answer,
    )
    assert process.wait(20) == 0


def test_what_fails_is_an_error_for_who_asked(mas, mas_process):
    """A program that fails, and a type that is not answered."""
    process = mas_process(
        "reply", "try.*", "--as", "sleeper", "--command", "false", "--count", "1", "-o", "jsonl"
    )
    assert mas("discover", "--wait", "20s", "--require", "4", "-o", "name").code == 0

    assert mas("request", "sleeper", "other.type", "{}").code == 1
    assert mas("request", "sleeper", "try.one", "{}").code == 1
    assert "ended with 1" in json.loads(process.stdout.readline())["error"]["message"]
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["x"], 2),
        (["x", "--echo", "--data", "{}"], 2),
        (["x", "--data", "{"], 2),
        (["x", "--command", "'"], 2),
        (["[", "--echo", "--as", "sleeper"], 2),
        (["x", "--echo", "--as", "nobody"], 6),
        (["x", "--echo", "--as", "calculator"], 7),
    ],
)
def test_what_cannot_be_answered_is_refused(mas, words, code):
    """An agent that runs would share its messages with the stand-in."""
    assert mas("reply", *words).code == code
