"""`mas gateway drain` and `resume` on a running system with one gateway."""

import json
import time

import pytest

from mas_cli import app


@pytest.fixture
def call(running_project, monkeypatch, capsys):
    """Runs a command in the running project; its exit code, standard output as JSON, standard error."""
    monkeypatch.chdir(running_project)

    def run(*words):
        capsys.readouterr()
        code = app.main([*words, "-o", "json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else None, captured.err

    return run


def test_the_only_gateway_is_drained_by_force_and_resumed(call):
    """Without --force exit 7 and nothing changed; every command says how it stands."""
    refused, _, error = call("gateway", "drain", "--all")
    rehearsed, would, _ = call("gateway", "drain", "--all", "--force", "--dry-run")
    _, before, _ = call("gateway", "status")
    drained, changed, said = call("gateway", "drain", "--all", "--force", "--wait", "--timeout", "20s")
    try:
        status, during, _ = call("gateway", "status")
        _, system, _ = call("status")
    finally:
        resumed, after, _ = call("gateway", "resume", "--all")
    name = before[0]["id"]

    assert (refused, rehearsed, drained, status, resumed) == (7, 0, 0, 1, 0)
    assert "--force" in error
    assert would[0]["change"] == "would drain"
    assert before[0]["state"] == "serving"
    assert (changed[0]["id"], changed[0]["state"], changed[0]["partitions"]) == (name, "drained", [])
    assert f"mas gateway resume {name}" in said
    assert during[0]["state"] == "drained"
    assert system["gateways"][0]["state"] == "drained"
    assert "all gateways are drained: messages wait" in [item["message"] for item in system["problems"]]
    assert after[0]["state"] == "serving"


def test_a_gateway_says_how_much_it_takes_and_refuses(call):
    """The rates of the last seconds come with the heartbeat, refusals apart from the rest."""
    for _ in range(3):
        assert call("send", "nobody-here", "x", "{}")[0] != 0
    for _ in range(60):
        code, (row,), _ = call("gateway", "status")
        if row["refused_s"]:
            break
        time.sleep(0.1)

    assert code == 0
    assert row["in_s"] >= row["refused_s"] > 0
    assert row["p95_ms"] >= 0
    assert row["lag"] == 0


def test_a_gateway_says_which_checks_are_on(call):
    """As it judges now, so that somebody sees when a check is off that should be on."""

    def stages_once(holds):
        for _ in range(60):
            if holds(found := call("gateway", "status")[1][0]["stages_on"]):
                break
            time.sleep(0.05)
        return found

    before = stages_once(lambda found: "rate" in found)
    assert {"access", "dlp", "rate"} <= set(before)
    assert not {"form", "target", "inbox"} & set(before)
    assert call("policy", "set", "rate_limit", "off")[0] == 0
    try:
        without = stages_once(lambda found: "rate" not in found)
        assert without == [name for name in before if name != "rate"]
    finally:
        assert call("policy", "set", "rate_limit", "on")[0] == 0


def test_what_gateways_are_meant_has_to_be_said(call):
    """None is a usage error, an unknown one is not found."""
    assert call("gateway", "drain")[0] == 2
    assert call("gateway", "resume", "nobody")[0] == 6
    assert call("gateway", "drain", "--host", "nowhere")[0] == 6


def test_partitions_are_shown_and_a_change_is_rehearsed(call):
    """The plan says who would move; nothing is changed by it, nor by the number that there is."""
    listed, rows, _ = call("partitions", "list")
    planned, plan, _ = call("partitions", "set", "4", "--dry-run")
    same, nothing, _ = call("partitions", "set", "1")
    asked, _, error = call("partitions", "set", "4")

    assert (listed, planned, same, asked) == (0, 0, 0, 2)
    assert [(row["partition"], row["state"]) for row in rows] == [(0, "open")]
    assert (plan["from"], plan["to"], plan["change"]) == (1, 4, "would change")
    assert 0 < plan["moving"] <= plan["agents"]
    assert nothing["change"] == "none"
    assert "--confirm" in error
    assert call("partitions", "list")[1][0]["state"] == "open"
    assert call("partitions", "set", "0", "--dry-run")[0] == 2


def test_a_project_is_made_with_partitions(tmp_path, monkeypatch, capsys):
    """Said at mas init, it stands in mas.yaml; impossible numbers make nothing."""
    monkeypatch.chdir(tmp_path)

    assert app.main(["init", "one", "--partitions", "0"]) == 2
    assert app.main(["init", "four", "--partitions", "4"]) == 0
    assert not (tmp_path / "one").exists()
    assert "partitions: 4\n" in (tmp_path / "four" / "mas.yaml").read_text()


def test_whether_a_gateway_could_run_is_found_out_without_one(call):
    """0 with those that run; a name that is taken and what no flag can be are told before anything starts."""
    could, running, said = call("gateway", "run", "--check", "--id", "another")
    name = running[0]["id"]

    assert (could, len(running)) == (0, 1)
    assert "can run here" in said
    assert call("gateway", "run", "--check", "--id", name)[0] == 7
    assert call("gateway", "run", "--check", "--url", "redis://127.0.0.1:1")[0] == 3
    assert call("gateway", "run", "--log-format", "xml")[0] == 2
    assert call("gateway", "run", "--drain", "soon")[0] == 2
    assert [row["id"] for row in call("gateway", "status")[1]] == [name]
