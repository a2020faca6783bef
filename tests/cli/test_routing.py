"""How a command line leads to a command."""

from __future__ import annotations

import pytest

from mas_cli.routing import members, route
from mas_core.errors import UsageError


def test_a_command_gets_the_shared_flags_from_before_its_name_first():
    """What stands behind the name comes last, so that it wins."""
    found = route(["-o", "json", "context", "--color=never", "-q", "list", "-o", "yaml"])

    assert found.command is not None
    assert found.command.name == "context list"
    assert found.arguments == ("-o", "json", "--color=never", "-q", "-o", "yaml")


@pytest.mark.parametrize(
    ("before", "moved"),
    [
        (["-ojson"], ("-ojson",)),
        (["-qojson"], ("-qojson",)),
        (["-qvo", "json"], ("-qvo", "json")),
        (["--output=json"], ("--output=json",)),
        (["--timeout", "-1"], ("--timeout", "-1")),
    ],
)
def test_shared_flags_in_every_spelling_are_moved(before, moved):
    """Attached values, clusters of letters and values that look like flags stay together."""
    assert moved == route([*before, "version"]).arguments


def test_words_behind_a_command_are_left_alone():
    """A command's own flags and arguments are not looked at."""
    found = route(["version", "context", "--help", "--", "-o"])

    assert found.command is not None
    assert found.command.name == "version"
    assert found.arguments == ("context", "--help", "--", "-o")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_recognised_at_every_level(flag):
    """`mas --help` and `mas context --help` are pages, not commands."""
    assert route([flag]).wants_help
    assert route(["context", flag]) == route(["-q", "context", flag])._replace(arguments=())


@pytest.mark.parametrize(
    ("words", "closest"),
    [
        (["contxt"], ["mas context"]),
        (["context", "lst"], ["mas context list"]),
        (["rename"], ["mas context rename"]),
        (["--outptu", "json", "version"], ["--output"]),
    ],
)
def test_a_near_miss_is_named_and_not_run(words, closest):
    """Suggestions come from the table, also from other groups."""
    with pytest.raises(UsageError) as raised:
        route(words)

    assert raised.value.details["closest"] == closest


@pytest.mark.parametrize("words", [["-x", "version"], ["-o"], ["--timeout"], ["--", "version"]])
def test_what_cannot_be_a_shared_flag_is_an_error(words):
    """Unknown letters, missing values and a lone `--` are usage errors."""
    with pytest.raises(UsageError):
        route(words)


def test_members_of_a_group_are_in_the_order_of_the_table():
    """The root lists groups once, a group its commands."""
    root = [word for word, _ in members(())]

    assert len(root) == len(set(root))
    assert "list" in [word for word, _ in members(("context",))]
