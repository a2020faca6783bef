"""`mas health`: what it says, and how it ends."""

import pytest
from support.running_system import running_system


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    """The folder of a running system in which nothing has happened."""
    with running_system(tmp_path_factory.mktemp("well") / "demo") as folder:
        yield folder


@pytest.fixture
def inside(well, monkeypatch):
    """In the folder of the running system."""
    monkeypatch.chdir(well)
    return well


def test_a_system_that_does_what_it_should_is_0(mas, inside):
    """Every part has a line, with its reason; what is well needs no command."""
    ran = mas("health", "-o", "json")

    items = {item["name"]: item for item in ran.json}
    assert ran.code == 0
    assert {"store", "profile", "partition 0", "agents"} <= items.keys()
    assert all(set(item) == {"name", "status", "since", "reason", "fix"} for item in ran.json)
    assert items["partition 0"]["status"] == "ok"


def test_something_red_is_1_and_comes_first(mas, inside):
    """An agent that has a spec and does not run, with the command that starts it."""
    spec = inside / "agents.d" / "absent.yaml"
    spec.write_text("agent_id: absent\nexec: [cat]\n")
    try:
        ran = mas("health", "-o", "json")
    finally:
        spec.unlink()

    assert ran.code == 1
    assert ran.json[0] == {
        "name": "agent absent",
        "status": "red",
        "since": None,
        "reason": "is not registered",
        "fix": "mas agent run absent",
    }


def test_a_server_that_does_not_answer_is_3(mas, inside):
    """Whether anything is red cannot be found out then, and that is another answer."""
    ran = mas("health", "-o", "json", "--url", "redis://127.0.0.1:1")

    assert (ran.code, ran.out) == (3, "")


@pytest.mark.parametrize("command", [("gateway", "run"), ("agent", "run", "--all")])
@pytest.mark.parametrize(
    ("address", "words"), [("0.0.0.0:9464", "reached from other machines"), ("here", "is no address")]
)
def test_health_is_served_to_other_machines_on_demand_only(mas, inside, command, address, words):
    """A flag that would open a port to everybody is a usage error, before anything starts."""
    ran = mas(*command, "--health", address, "-o", "json")

    assert ran.code == 2
    assert words in ran.error["message"]
    assert ran.error["hint"]
