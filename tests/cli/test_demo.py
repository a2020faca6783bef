"""`mas demo`."""

from mas_cli.samples import PROTOCOLS


def test_a_protocol_runs_with_so_many_agents(mas):
    """In this process; what it says is one record a line for programs."""
    shown = mas("demo", "--protocol", "pipeline", "--agents", "2")
    assert shown.code == 0
    assert "each went through trim-1, lower-2" in shown.out

    ran = mas("demo", "--protocol", "pipeline", "--agents", "1", "-o", "json")
    assert [row["protocol"] for row in ran.json] == ["pipeline"] * 4
    assert ran.json[-1]["line"] == "each went through trim-1"


def test_protocols_are_listed_and_what_is_none_is_refused(mas):
    """Each with what it shows."""
    assert [row["protocol"] for row in mas("demo", "-o", "json").json] == list(PROTOCOLS)
    assert all(row["about"] for row in mas("demo", "-o", "json").json)
    assert mas("demo", "--protocol", "nope").code == 2
    assert mas("demo", "--agents", "3").code == 2
