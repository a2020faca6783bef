"""`mas audit retention` on a running system."""

import pytest


@pytest.fixture(autouse=True)
def inside(running_project, monkeypatch, mas):
    """In the folder of the running project; what a test adopts is taken back."""
    monkeypatch.chdir(running_project)
    yield
    for name in ("hipaa", "ours"):
        mas("audit", "retention", "set", name, "--remove")


def listed(mas):
    return {row["framework"]: row for row in mas("audit", "retention", "list", "-o", "json").json}


def test_frameworks_are_listed_and_adopted(mas):
    """With what those in force ask for together, and the way back."""
    assert not listed(mas)["hipaa"]["in_force"]

    ran = mas("audit", "retention", "set", "hipaa", "-o", "json")
    mas("audit", "retention", "set", "ours", "--hot-days", "120", "--archive-years", "2", "--delete")
    found = listed(mas)

    assert ran.code == 0
    assert ran.json[0]["before"] == "none"
    assert "undo with: mas audit retention set hipaa --remove" in ran.err
    assert (found["hipaa"]["in_force"], found["hipaa"]["archive_years"]) == (True, 6)
    together = found["in force"]
    assert (together["hot_days"], together["archive_years"], together["delete"]) == (120, 6, False)
    assert "retention of hipaa" in mas("rbac", "history").out


def test_a_dry_run_adopts_nothing(mas):
    """And tells what would be changed."""
    ran = mas("audit", "retention", "set", "hipaa", "--hot-days", "7", "--dry-run")

    assert ran.code == 0
    assert "7 days in the store" in ran.out
    assert not listed(mas)["hipaa"]["in_force"]


def test_taking_back_what_is_not_in_force_is_not_found(mas):
    """Exit code 6, and where to look."""
    ran = mas("audit", "retention", "set", "hipaa", "--remove", "-o", "json")

    assert ran.code == 6
    assert ran.error["hint"] == ["mas audit retention list"]
