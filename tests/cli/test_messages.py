"""`mas send`, `mas request` and `mas discover` on a running system."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support.running_system import HOSTILE


@pytest.fixture(autouse=True)
def inside(running_project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the folder of the running project."""
    monkeypatch.chdir(running_project)
    return running_project


def test_a_request_prints_the_reply_and_nothing_else(mas):
    """The payload on standard output, compact; whatever is said goes to standard error."""
    ran = mas("request", "calculator", "math.add", '{"numbers":[1,2,3.5]}')

    assert ran == (0, '{"result":6.5}\n', "")


def test_the_time_of_an_answer_is_told_on_demand(mas):
    """On standard error with -v; standard output stays the same."""
    ran = mas("request", "calculator", "math.add", "-J", "numbers:=[1,2]", "-v", "-o", "json")

    assert ran.json == {"result": 3}
    assert "calculator answered in" in ran.err


@pytest.mark.parametrize(
    ("payload", "out"),
    [
        ('{"text":"plain words"}', "plain words\n"),
        ('{"n":7}', "7\n"),
        ('{"yes":true}', "true\n"),
        ('{"list":[1]}', "[1]\n"),
        ('{"a":1,"b":2}', '{"a":1,"b":2}\n'),
    ],
)
def test_raw_gives_the_only_value(mas, payload, out):
    """Text without quotes; what has no bare form stays JSON."""
    assert mas("request", "calculator", "text.echo", payload, "--raw") == (0, out, "")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("nobody", "math.add", "{}"), 6, "agent_not_found"),
        (("sleeper", "math.add", "{}"), 6, "no_responder"),
        (("silent", "wait", "--timeout", "0.3"), 4, "request_timed_out"),
        (("silent", "wait", "--as", "outsider"), 5, "forbidden"),
        (("calculator", "math.fail"), 1, "agent_failed"),
        (("calculator", "math.add", '{"a":1,"a":2}'), 2, "invalid_payload"),
        (("calculator", "math.add", '{"a":NaN}'), 2, "invalid_payload"),
        (("calculator", "math.add", "[]"), 2, "invalid_payload"),
        (("calculator", "math add", "{}"), 2, "invalid_identifier"),
        (("Calculator!", "math.add", "{}"), 2, "invalid_identifier"),
        (("calculator", "math.add", "--as", "stranger"), 2, "secret_unavailable"),
        (("calculator", "math.add", "--timeout", "soon"), 2, "usage"),
        (("calculator", "math.add", "--priority", "15"), 2, "usage"),
    ],
)
def test_a_request_that_fails_says_how(mas, words, code, error):
    """The exit code of the contract, the error as one line of JSON, nothing on standard output."""
    ran = mas("request", *words, "-o", "json")

    assert (code, "") == (ran.code, ran.out)
    assert (error, code) == (ran.error["code"], ran.error["exit"])


def test_a_handler_that_failed_leads_to_the_logs_of_its_agent(mas, inside):
    """To those of its own instances only, and only where there are some."""
    logs = inside / ".mas" / "logs"
    names = ("calculator-1.log", "calculator-2.log", "calculator-two-1.log")
    without = mas("request", "calculator", "math.fail", "-o", "json").error["hint"]

    for name in names:
        (logs / name).touch()
    try:
        hints = mas("request", "calculator", "math.fail", "-o", "json").error["hint"]
    finally:
        for name in names:
            (logs / name).unlink()

    assert without == []
    assert hints == ["tail .mas/logs/calculator-1.log", "tail .mas/logs/calculator-2.log"]


def test_nobody_is_known_at_once(mas_process, inside):
    """An agent that does not exist is not waited for, however long its answer might take."""
    process = mas_process("request", "nobody", "math.add", "{}", "--timeout", "1h")
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (6, "")
    assert "nobody" in err


def test_a_refusal_names_the_command_that_would_permit_it(mas):
    """And after that command the same message goes."""
    ran = mas("send", "calculator", "text.echo", "--as", "outsider")

    assert ran.code == 5
    assert "because  " in ran.err
    (command,) = [line.split("mas ", 1)[1] for line in ran.err.splitlines() if "mas rbac allow" in line]
    allowed = mas(*command.split(), "-o", "json")
    assert allowed.code == 0
    assert mas("send", "calculator", "text.echo", "--as", "outsider").code == 0
    assert mas("rbac", "revoke", allowed.json[0]["id"]).code == 0
    assert mas("send", "calculator", "text.echo", "--as", "outsider").code == 5


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("send", "outsider may not send text.echo to calculator"),
        ("request", "outsider may not request text.echo from calculator"),
    ],
)
def test_a_refusal_says_each_thing_once(mas, command, sentence):
    """What was tried, in its own words, and apart from that why it may not be."""
    ran = mas(command, "calculator", "text.echo", "--as", "outsider")

    assert f"mas: refused: {sentence} " in ran.err
    assert "  because  no rule allows it\n" in ran.err
    assert ran.err.count("may not") == 1


def test_a_sent_message_is_told_by_id_and_decision(mas):
    """In every format; `-o name` is the id alone."""
    sent = mas("send", "notebook", "note.add", "-F", "text=one", "-o", "json").json
    named = mas("send", "notebook", "note.add", "-F", "text=two", "-o", "name").out.strip()

    assert {"target": "notebook", "type": "note.add", "decision": "allowed"}.items() <= sent.items()
    assert len(named) == 26
    assert [row["decision"] for row in mas("audit", "get", named, "-o", "json").json] == ["allowed"]


def test_an_id_of_ones_own_is_sent_once(mas):
    """The second time gives the receipt of the first."""
    for _ in range(2):
        sent = mas("send", "notebook", "note.add", "--id", "order-1", "-o", "json")
        assert (sent.code, sent.json["id"], sent.json["decision"]) == (0, "order-1", "allowed")

    records = mas("audit", "get", "order-1", "-o", "json").json
    assert [record["decision"] for record in records] == ["allowed", "replayed"]


def test_a_payload_that_is_blocked_is_named_by_place_only(mas, running_project):
    """What it holds is neither in the error nor in the audit."""
    ran = mas("send", "notebook", "note.add", '{"text":"4111 1111 1111 1111"}', "-o", "json")

    assert (ran.code, ran.error["code"]) == (5, "payload_blocked")
    assert ran.error["details"]["findings"][0]["path"] == "/text"
    assert "4111" not in ran.err
    assert "4111 1111" not in mas("audit", "list", "-o", "jsonl").out


def test_lines_are_messages_and_bad_ones_are_listed(mas):
    """The others go; the exit code is 8, and every one has its row in order."""
    lines = '{"text":"a"}\nnope\n\n{"text":"4111 1111 1111 1111"}\n{"text":"b"}\n'

    ran = mas("send", "notebook", "note.add", "-", "--lines", "-o", "json", stdin=lines)

    assert (ran.code, ran.error["code"]) == (8, "partly_failed")
    assert ran.error["details"] == {"failed": 2, "sent": 2}
    codes = [row["error"] and row["error"]["code"] for row in ran.json]
    assert codes == [None, "invalid_payload", "payload_blocked", None]
    assert "line 2" in ran.json[1]["error"]["message"]


def test_names_of_a_batch_are_ids_only(mas):
    """A script gets the ids; what failed is said on standard error."""
    ran = mas("send", "notebook", "note.add", "-", "--lines", "-o", "name", stdin="{}\nnope\n{}\n")

    assert ran.code == 8
    assert [len(line) for line in ran.out.splitlines()] == [26, 26]
    assert "line 2" in ran.err


def test_a_batch_is_written_as_it_goes(mas):
    """One object a line with jsonl; count and template make the payloads."""
    ran = mas(
        "send", "calculator", "text.echo", "--count", "30", "--template", "-F", "n={{count}}", "-o", "jsonl"
    )

    assert ran.code == 0
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["decision"] for row in rows] == ["allowed"] * 30
    assert len({row["id"] for row in rows}) == 30


def test_a_rate_slows_a_batch_down(mas):
    """Five messages at twenty a second take at least four pauses."""
    started = time.monotonic()

    assert mas("send", "calculator", "text.echo", "--count", "5", "--rate", "20").code == 0
    assert time.monotonic() - started > 4 / 20


@pytest.mark.parametrize(
    "words",
    [
        ("--count", "0"),
        ("--rate", "-1"),
        ("--lines",),
        ("-", "--lines", "--count", "2"),
        ("--id", "x", "--count", "2"),
        ("--ttl", "never"),
        ("--as", "Not An Id"),
        ("@missing.json",),
    ],
)
def test_flags_that_make_no_sense_are_refused(mas, words):
    """Before anything is sent."""
    ran = mas("send", "notebook", "note.add", *words)

    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" not in ran.err


def test_a_pipe_feeds_a_running_command(mas_process, inside):
    """Each line is sent when it comes, not when the pipe ends; and Ctrl-C leaves a waiting pipe at once."""
    process = mas_process("send", "notebook", "note.add", "-", "--lines", "-o", "jsonl")

    process.stdin.write('{"text":"live"}\n')
    process.stdin.flush()
    first = json.loads(process.stdout.readline())
    process.send_signal(2)

    assert first["decision"] == "allowed"
    assert process.wait(10) == 130
    assert process.stderr.read() == ""


def test_discovery_lists_who_can(mas):
    """Running agents with any or all of the capabilities and this metadata."""
    assert {"calculator", "notebook"} == {row["id"] for row in mas("discover", "math", "-o", "json").json}
    both = mas("discover", "math", "notes", "--all-of", "-o", "name")
    assert both == (0, "notebook\n", "")
    assert mas("discover", "--selector", "zone=eu", "-o", "name").out == "notebook\n"
    assert mas("discover", "--selector", "zone=us", "-o", "json").json == []
    assert mas("discover", "notes", "--min-free", "1", "-o", "name").out == "notebook\n"
    assert mas("discover", "notes", "--min-free", "100000", "--require", "1", "-o", "json").code == 1


def test_discovery_shows_only_who_may_be_asked(mas):
    """Rules decide what an agent sees."""
    assert mas("discover", "-o", "name", "--as", "outsider").out == "notebook\n"


def test_discovery_can_require_a_number(mas):
    """Fewer is a no, and still lists them."""
    ran = mas("discover", "notes", "--require", "2", "-o", "name")

    assert (ran.code, ran.out) == (1, "notebook\n")
    assert mas("discover", "math", "--require", "2", "-q").code == 0


def test_hostile_replies_do_nothing_to_a_terminal(mas):
    """JSON escapes what the table shows as symbols; nothing is obeyed."""
    payload = json.dumps({"text": HOSTILE})

    for format_ in ("table", "json", "yaml", "jsonl"):
        out = mas("request", "calculator", "text.echo", payload, "-o", format_).out
        assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert mas("request", "calculator", "text.echo", payload, "-o", "json").json == {"text": HOSTILE}


def test_without_a_gateway_nothing_waits(mas, running_project, tmp_path):
    """A server without a gateway is unreachable, and says what to start."""
    url = json.loads((running_project / ".mas" / "run" / "context.json").read_text())["url"]
    (tmp_path / "other").mkdir()
    text = (running_project / "mas.yaml").read_text() + "namespace: other\n"
    (tmp_path / "other" / "mas.yaml").write_text(text)
    tokens = tmp_path / "other" / ".mas" / "tokens"
    tokens.mkdir(parents=True, mode=0o700)
    token = (running_project / ".mas" / "tokens" / "operator.token").read_bytes()
    (tokens / "operator.token").touch(0o600)
    (tokens / "operator.token").write_bytes(token)

    ran = mas("--config", str(tmp_path / "other"), "--url", url, "send", "notebook", "note.add", "-o", "json")

    assert (ran.code, ran.error["code"]) == (3, "gateway_down")
    assert "mas up" in ran.error["hint"]


def test_a_dry_run_tells_what_each_stage_would_say(mas):
    """0 when it would pass; nothing is delivered."""
    ran = mas("send", "notebook", "note.add", '{"text":"never"}', "--dry-run", "-o", "json")
    stages = {item["stage"]: item for item in ran.json["stages"]}

    assert (ran.code, ran.json["would_pass"], ran.json["decision"]) == (0, True, "allowed")
    assert next(iter(stages)) == "authenticate"
    assert {"form", "target", "access", "rate", "dlp", "inbox"} <= set(stages)
    assert "never" not in mas("state", "get", "notebook", "-o", "json").out
    assert mas("request", "calculator", "math.add", '{"numbers":[1]}', "--dry-run").code == 0


def test_a_dry_run_of_what_would_be_refused_ends_with_5(mas):
    """With the stage, the reason, the places of what was found, and what was not reached."""
    ran = mas("send", "notebook", "note.add", '{"text":"4111 1111 1111 1111"}', "--dry-run", "-o", "json")
    table = mas("send", "notebook", "note.add", '{"text":"4111 1111 1111 1111"}', "--dry-run")
    stages = {item["stage"]: item for item in ran.json["stages"]}

    assert (ran.code, ran.json["decision"]) == (5, "blocked")
    assert [(item["rule"], item["path"]) for item in stages["dlp"]["findings"]] == [("card", "/text")]
    assert stages["inbox"]["verdict"] == "not reached"
    assert table.code == 5
    assert "card /text 0-19" in table.out
    assert "it would be refused: blocked" in table.err
    assert "4111" not in ran.out + ran.err + table.out + table.err
    nobody = mas("send", "nobody", "x", "--dry-run", "-o", "json")
    assert (nobody.code, nobody.json["decision"]) == (5, "not_found")
    assert mas("send", "notebook", "x", "--dry-run", "--count", "2").code == 2


ADD = ("math.add", '{"numbers":[1,2]}')


def test_a_capability_stands_for_whom_it_finds(mas):
    """The least loaded, any, or all of those who run and may be asked; nobody is 6."""
    echo = ("capability:math", "text.echo", "{}")
    one = mas("send", "capability:math", "no.matter", "--pick", "one", "-o", "json").json
    assert one["target"] in {"calculator", "notebook"}
    assert mas("send", "capability:notes", "note.add", "-o", "json").json["target"] == "notebook"
    many = mas("send", "capability:math", "no.matter", "--pick", "all", "-o", "json").json
    assert [row["target"] for row in many] == ["calculator", "notebook"]
    assert (
        mas("send", "capability:math", "note.add", "--as", "outsider", "-o", "json").json["target"]
        == "notebook"
    )
    assert mas("request", "capability:none", *ADD).code == 6
    assert mas("request", *echo, "--pick", "fastest").code == 2


def test_all_are_asked_at_once(mas):
    """A row each; who does not answer as expected is 1, who fails is 8."""
    alone = mas("request", "calculator", "--all", *ADD, "--expect", "result == `3`", "-o", "json")
    assert (alone.code, [(row["id"], row["reply"]) for row in alone.json]) == (
        0,
        [("calculator", {"result": 3})],
    )
    assert mas("request", "calculator", "--all", *ADD, "--expect", "result == `4`").code == 1
    some = mas("request", "capability:math", "--all", *ADD, "--timeout", "0.5s", "-o", "json")
    assert some.code == 8
    assert [row["error"] is None for row in json.loads(some.out)] == [True, False]
    assert mas("request", "calculator", "--all", "--raw", *ADD).code == 2


def test_a_reply_can_be_held_against_an_expectation(mas):
    """It is printed all the same; 1 when it is not as expected."""
    right = mas("request", "calculator", *ADD, "--expect", "result > `2`")
    wrong = mas("request", "calculator", *ADD, "--expect", "result > `3`")

    assert (right.code, right.out) == (0, '{"result":3}\n')
    assert (wrong.code, wrong.out) == (1, '{"result":3}\n')
    assert "--expect" in wrong.err
    assert mas("request", "calculator", *ADD, "--expect", "result >").code == 2


def test_discovery_waits_and_chooses(mas):
    """--wait looks until there are enough; --best is one."""
    assert mas("discover", "math", "--best", "--require", "2", "-o", "json").json[0]["id"] == "calculator"
    assert mas("discover", "no-such", "--wait", "300ms").code == 1
    assert mas("discover", "notes", "--wait", "10s", "-o", "name").out == "notebook\n"
