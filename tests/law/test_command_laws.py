"""House rules of the command line, as tests over the command table and the source."""

from __future__ import annotations

import ast
import inspect
import io
import itertools
import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from support.backups import write_empty_backup
from support.certificates import certificate_with, uri
from support.followed_evidence import write_archive, write_proof
from support.running_system import HOSTILE, OBEYED

import mas_cli.errors
import mas_core.errors
from mas_cli import app, generated_files
from mas_cli.command_parser import load, parser_for
from mas_cli.command_table import COMMANDS, GROUPS, SECTIONS, Command
from mas_cli.input.shared_flags import SHARED_FLAGS, SharedFlags
from mas_cli.output.exit_codes import EXIT_CODES, ExitCode, exit_code_of
from mas_cli.output.formats import Format
from mas_cli.reference.command_spec import exit_codes
from mas_cli.routing import members, route
from mas_core.errors import (
    AgentFailed,
    ConfigurationError,
    Conflict,
    ContextNotFound,
    IntegrityError,
    InternalError,
    MasError,
    NoResponder,
    NotFound,
    ProjectNotFound,
    Refused,
    TimedOut,
    Unreachable,
    UsageError,
)
from mas_core.security.dlp.sealed_values import ValueSealer, new_private_key, public_half
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.settings.private_files import write_private
from mas_core.settings.project import require_project

ROOT = Path(__file__).parents[2]
SOURCES = [path for package in ("mas_cli", "mas_core") for path in sorted((ROOT / package).rglob("*.py"))]
each_command = pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name.replace(" ", "-"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def derived(error: type[MasError]) -> Iterator[type[MasError]]:
    yield error
    for child in error.__subclasses__():
        yield from derived(child)


ERRORS = [
    error
    for error in derived(MasError)
    if error.__module__ in {mas_core.errors.__name__, mas_cli.errors.__name__}
]


@each_command
def test_every_command_is_described(entry: Command):
    """A short summary, examples of the command itself, an impact, exit codes that exist."""
    assert 5 < len(entry.summary) <= 60
    assert not entry.summary.endswith(".")
    assert entry.summary[0].isupper()
    assert entry.examples
    for example in entry.examples:
        assert f"mas {entry.name}" in example
    assert entry.impact in {"read", "write", "destroy"}
    assert Format(entry.output)
    for code, when in entry.exit_codes.items():
        assert ExitCode(code)
        assert when
    assert {0, 2, 70, 130} <= set(exit_codes(entry))


@each_command
def test_every_example_parses(entry: Command):
    """What the help shows can be typed: the flags exist and the values fit."""
    for example in entry.examples:
        call = re.search(r"mas (?:'[^']*'|[^|><()'])*(?:'[^']*'|[^|><()' ])", example)
        assert call is not None
        found = route(shlex.split(call[0])[1:])
        assert found.command is entry
        parser_for(entry).make_context("mas", list(found.arguments)).close()


def test_names_are_unique_and_every_first_word_has_a_section():
    """The root help shows every command's first word once, and every group leads somewhere."""
    names = [entry.name for entry in COMMANDS]
    sectioned = [word for _, words in SECTIONS for word in words]

    assert len(names) == len(set(names))
    assert len(sectioned) == len(set(sectioned))
    assert {name.split()[0] for name in names} <= set(sectioned)
    for group, summary in GROUPS.items():
        assert members(tuple(group.split()))
        assert len(summary) <= 60


@each_command
def test_every_declared_flag_is_read(entry: Command):
    """A parameter that the function never mentions is a dead flag."""
    function = load(entry)
    parameters = [name for name in inspect.signature(function).parameters if name != "call"]
    (definition,) = ast.parse(inspect.getsource(function)).body
    body = [node for statement in definition.body for node in ast.walk(statement)]
    read = {node.id for node in body if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}

    assert [name for name in parameters if name not in read] == []


def test_every_shared_flag_is_read():
    """Somewhere in the command line, outside of where it is declared."""
    read = {
        node.attr
        for path in SOURCES
        if path.is_relative_to(ROOT / "mas_cli")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }

    assert [item.name for item in fields(SharedFlags) if item.name not in read] == []


def test_shared_flags_have_environment_twins():
    """Each of its own."""
    twins = [spec.env for spec in SHARED_FLAGS]

    assert all(twin.startswith("MAS_") for twin in twins)
    assert len(twins) == len(set(twins))


@each_command
def test_no_flag_of_a_command_hides_a_shared_one(entry: Command):
    """Parameters and spellings are free."""
    parser = parser_for(entry)
    context = parser.make_context("mas", [], resilient_parsing=True)
    spellings = [text for item in parser.get_params(context) for text in (*item.opts, *item.secondary_opts)]

    assert sorted(set(spellings)) == sorted(spellings)
    for item in parser.get_params(context):
        assert item.help, f"{item.name} has no help"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_a_code_a_message_and_an_exit_code(error: type[MasError]):
    """By inheritance from the explicit rows."""
    assert error.code
    assert (error.__doc__ or "").strip()
    assert isinstance(exit_code_of(error), ExitCode)
    assert error is MasError or exit_code_of(error) is not ExitCode.BUG or issubclass(error, InternalError)


def test_error_codes_are_unique():
    """A program can tell every error by its code."""
    codes = [error.code for error in ERRORS]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError, 2),
        (ConfigurationError, 2),
        (ProjectNotFound, 2),
        (Unreachable, 3),
        (NoResponder, 6),
        (TimedOut, 4),
        (Refused, 5),
        (NotFound, 6),
        (ContextNotFound, 6),
        (Conflict, 7),
        (AgentFailed, 1),
        (IntegrityError, 1),
        (InternalError, 70),
    ],
)
def test_the_contract_of_exit_codes(error, code):
    """The codes of the contract do not move."""
    assert error in {*EXIT_CODES, ProjectNotFound}
    assert exit_code_of(error) == code


def test_a_missing_project_names_init():
    """The first thing that a newcomer meets says how to go on."""
    with pytest.raises(ProjectNotFound) as raised:
        require_project(Path("/"))

    assert raised.value.hint == ("mas init DIR",)


OWN_STREAMS = {
    ROOT / "mas_core" / "base" / "logs.py",
    ROOT / "mas_core" / "ops" / "bench" / "receiver.py",
    ROOT / "mas_core" / "server" / "handshakes.py",
}
"""Where logs go, a process that answers its parent over its own standard output, and one that reads gRPC's log."""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_output_writes_to_the_standard_streams(path: Path):
    """No print, no sys.stdout, no sys.stderr, no echo elsewhere."""
    if path.is_relative_to(ROOT / "mas_cli" / "output") or path in OWN_STREAMS:
        return
    written = [
        f"{path.name}:{node.lineno}"
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Name) and node.id in {"print", "pprint", "secho"})
        or (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr)
            in {
                ("sys", "stdout"),
                ("sys", "stderr"),
                ("sys", "__stdout__"),
                ("sys", "__stderr__"),
                ("typer", "echo"),
                ("typer", "secho"),
                ("typer", "confirm"),
                ("typer", "prompt"),
            }
        )
    ]

    assert written == []


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if path.is_relative_to(ROOT / "mas_cli")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_command_line_enters_the_library_by_its_doors(path: Path):
    """Operations, settings, model and errors; and a command knows no other command."""
    modules = {
        name
        for node in ast.walk(tree(path))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    doors = ("mas_core.ops", "mas_core.settings", "mas_core.model", "mas_core.errors")

    assert [name for name in modules if name.startswith("mas_core") and not name.startswith(doors)] == []
    assert not any(name.startswith(("typer._click", "click")) for name in modules)
    if path.parent.name == "commands":
        assert not any(name.startswith("mas_cli.commands.") for name in modules)
    assert len(path.read_text().splitlines()) <= 400


def test_generated_files_are_current():
    """`make gen` would change nothing: completions, reference of commands and error codes."""
    assert generated_files.stale() == []


LOCAL_CALLS = {
    "demo": [],
    "init": ["made"],
    "agent new": ["x", "--class", "a:B", "--print"],
    "context add": ["new", "--url", "redis://h"],
    "config get": ["profile"],
    "event tail": ["--for", "50ms"],
    "context copy": ["one", "copy-{n}"],
    "context show": ["one"],
    "context select": ["one"],
    "context rename": ["one", "other"],
    "context remove": ["one", "--yes"],
    "completion install": ["bash"],
    "man": ["--out", "man1"],
    "audit check-proof": ["proof.json", "--key", "audit.pub"],
    "audit restore": ["--from", "cold", "--out", "again-{n}"],
    "audit reindex": [],
    "backup verify": ["empty.zip"],
    "audit sinks clean": ["--keep-days", "30", "--yes"],
    "doctor": ["--only", "contexts"],
    "dlp scan": ['{"a": 1}'],
    "dlp test": ["--file", "cases.yaml"],
    "dlp key": ["--out", "new.key"],
    "dlp decrypt": ["@sealed.json", "--key", "own.key"],
    "cert inspect": ["someone.pem"],
    "dlp hash": ["@value.txt", "--key", "own.key"],
}
"""Arguments with which a command without a server succeeds; none when it is not listed."""

_numbers = itertools.count()


def local_call(entry: Command) -> list[str]:
    """These arguments, with another number each time."""
    number = str(next(_numbers))
    return [word.replace("{n}", number) for word in LOCAL_CALLS.get(entry.name, [])]


ON_TERMINALS = {"context edit"}
"""Commands that a terminal belongs to; they have tests of their own."""

WITH_OTHERS = {"cert follow"}
"""Commands that need somebody on the other side; they have tests of their own."""

LOCAL = [
    entry for entry in COMMANDS if entry.scope == "local" and entry.name not in ON_TERMINALS | WITH_OTHERS
]
local_commands = pytest.mark.parametrize("entry", LOCAL, ids=lambda entry: entry.name.replace(" ", "-"))


@pytest.fixture
def local_project(tmp_path, monkeypatch):
    """A project, and two contexts, the second selected after the first."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "MAS_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    (tmp_path / "mas.yaml").write_text("name: demo\nurl: redis://h\ngateway: {audit: {daily: logs}}\n")
    (tmp_path / "cases.yaml").write_text("cases: [{value: fine, find: []}]\n")
    (tmp_path / "logs" / "2020-01-01").mkdir(parents=True)
    (tmp_path / "logs" / "2020-01-01" / "errors_2020-01-01.jsonl").write_text("{}\n")
    (tmp_path / "value.txt").write_text("4111 1111 1111 1111\n")
    private_key = new_private_key()
    write_private(tmp_path / "own.key", private_key.encode())
    sealed = ValueSealer({"own": public_half(private_key)}).seal("own", "card", "4111")
    (tmp_path / "sealed.json").write_text(json.dumps({"card": sealed}))
    keys = GatewayKeys.load_or_create(tmp_path / ".mas" / "keys")
    write_empty_backup(tmp_path / "empty.zip", keys, keys.key_id)
    write_archive(tmp_path, tmp_path / "cold")
    write_proof(tmp_path)
    use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    in_force = {"start": datetime.now(UTC) - timedelta(days=1), "end": datetime.now(UTC) + timedelta(days=1)}
    chain = (
        certificate_with(uri("spiffe://mas/agent/a"), common_name=HOSTILE[:20], extensions=[use], **in_force),
        certificate_with(uri("spiffe://mas/agent/a\n"), common_name=HOSTILE[:20]),
    )
    (tmp_path / "someone.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    for words in (
        ["context", "add", "two", "--url", "redis://h"],
        ["context", "add", "one", "--url", "redis://h"],
        ["context", "select", "one"],
    ):
        assert app.main(words) == 0


@pytest.mark.usefixtures("local_project")
@local_commands
def test_json_parses_for_every_command(entry: Command, capfd):
    """With colour forced, in a pipe; and on an error standard output stays empty."""
    capfd.readouterr()

    assert app.main([*entry.name.split(), *local_call(entry), "-o", "json", "--color=always"]) == 0
    out = capfd.readouterr().out
    if entry.name == "event tail":
        # a stream: one object a line, here none
        assert out == ""
    else:
        json.loads(out)

    assert app.main([*entry.name.split(), "--no-such-flag", "-o", "json"]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert json.loads(captured.err)["error"]["exit"] == 2


@pytest.mark.usefixtures("local_project")
@local_commands
def test_json_lines_and_yaml_parse_for_every_command(entry: Command, capfd):
    """One object a line; one document."""
    for format_ in ("jsonl", "yaml"):
        capfd.readouterr()
        code = app.main([*entry.name.split(), *local_call(entry), "-o", format_])
        out = capfd.readouterr().out
        if code != 0:
            # the first format has made the change already
            assert entry.impact != "read"
        elif format_ == "yaml":
            yaml.safe_load(out)
        else:
            for line in out.splitlines():
                json.loads(line)


@pytest.mark.usefixtures("local_project")
@local_commands
def test_s28_no_local_command_obeys_what_it_is_given(entry: Command, capfd):
    """Names, files and values of hostile text: a documented exit code, and nothing that a terminal would obey."""
    words = [word if word.startswith("-") else HOSTILE for word in LOCAL_CALLS.get(entry.name, [])]
    for format_ in ("table", "json"):
        capfd.readouterr()
        code = app.main([*entry.name.split(), *(words or [HOSTILE]), "-o", format_, "--color=never"])
        out, err = capfd.readouterr()

        assert code in exit_codes(entry)
        assert code != ExitCode.BUG
        assert not OBEYED.search(out + err)


@pytest.mark.usefixtures("local_project")
def test_s28_what_stands_in_files_is_text(capfd):
    """Settings, specs and contexts that others may have written."""
    Path("mas.yaml").write_text(json.dumps({"name": HOSTILE[:64], "url": HOSTILE, HOSTILE: 1}))
    Path("agents.d").mkdir(exist_ok=True)
    Path("agents.d/x.yaml").write_text(
        json.dumps({"agent_id": HOSTILE, "class_path": HOSTILE, HOSTILE: HOSTILE})
    )
    (Path.home() / ".config/mas/contexts/one.yaml").write_text(json.dumps({"url": HOSTILE, HOSTILE: 1}))
    for words in (
        ["config", "show"],
        ["config", "validate"],
        ["agent", "validate"],
        ["context", "list"],
        ["doctor"],
        [],
    ):
        for format_ in ("table", "json", "csv"):
            capfd.readouterr()
            assert app.main([*words, *(["-o", format_, "--color=never"] if words else [])]) in {0, 1, 2}
            out, err = capfd.readouterr()
            assert not OBEYED.search(out + err)


@pytest.mark.usefixtures("local_project")
@pytest.mark.parametrize(
    "entry", [entry for entry in LOCAL if entry.impact == "destroy"], ids=lambda entry: entry.name
)
def test_nothing_is_destroyed_without_a_yes(entry: Command, capfd):
    """No terminal and no flag: exit 2, at once, and nothing changed."""
    call = [word for word in LOCAL_CALLS[entry.name] if word not in {"--yes", "-y"}]
    capfd.readouterr()

    assert app.main([*entry.name.split(), *call]) == 2
    assert "--yes" in capfd.readouterr().err
    assert app.main([*entry.name.split(), *call, "--read-only", "--yes"]) == 2
    assert app.main([*entry.name.split(), *call, "--yes"]) == 0
