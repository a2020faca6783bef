"""What our own code and its dependencies must not do (S41), and where secrets must not be (S42)."""

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from mas_cli.command_table import COMMANDS

ROOT = Path(__file__).parents[2]
FOLDERS = ("mas_core", "mas_cli", "agents.d", "examples")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "marshal", "shelve", "jsonpickle", "telnetlib", "ftplib"}
FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.full_load",
    "yaml.unsafe_load", "subprocess.getoutput", "asyncio.create_subprocess_shell", "tempfile.mktemp",
}  # fmt: skip


def findings(text):
    """What a source must not have: line and name."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
            found += [(node.lineno, name) for name in names if name in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
                found.append((node.lineno, node.module))
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in FORBIDDEN_CALLS:
                found.append((node.lineno, ast.unparse(node.func)))
            found += [
                (node.lineno, "shell=True")
                for word in node.keywords
                if word.arg == "shell" and not (isinstance(word.value, ast.Constant) and not word.value.value)
            ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_s41_no_source_runs_data_as_code(path):
    """No pickle, eval, yaml.load or shell=True, in whatever spelling."""
    assert findings(path.read_text()) == []


def test_s41_the_bar_finds_what_it_forbids():
    """Each of the forbidden things, so that the bar cannot rot."""
    text = (
        "import pickle\nfrom marshal import loads\neval(x)\nyaml.load(y)\nrun(z, shell=True)\nos.system(a)\n"
    )

    assert [line for line, _ in findings(text)] == [1, 2, 3, 4, 5, 6]


def test_s41_the_security_rules_of_the_linter_are_on():
    """ruff's S rules (bandit) count for everything that is shipped; single exceptions stand in the code."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]

    assert settings["select"] == ["ALL"]
    assert not [rule for rule in settings["ignore"] if rule.startswith("S") and rule[1:2].isdigit()]
    shipped = [
        rule
        for pattern, rules in settings["per-file-ignores"].items()
        if pattern.startswith(("mas_core", "mas_cli"))
        for rule in rules
        if re.fullmatch(r"S\d+", rule)
    ]
    assert shipped == []
    dangerous = re.compile(r"noqa:.*\bS(102|301|302|307|501|506|602|604|605|608|609|701)\b")
    assert [path for path in SOURCES if dangerous.search(path.read_text())] == []


def test_s41_every_dependency_has_an_upper_bound_and_a_reason():
    """No release of another major version comes in by itself; the table of ARCHITECTURE.md names each."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    architecture = (ROOT / "ARCHITECTURE.md").read_text()

    for text in needed:
        name = re.match(r"[a-z0-9-]+", text)[0]
        assert "<" in text or name == "google-re2", text
        assert re.search(rf"^\|[^|]*\b{name}\b", architecture, re.MULTILINE), name


def parameters():
    for command in COMMANDS:
        module, _, name = command.handler.partition(":")
        function = getattr(importlib.import_module(f"mas_cli.commands.{module}"), name)
        for parameter in inspect.signature(function).parameters.values():
            yield command.name, parameter.name


def test_s42_no_command_takes_a_secret_as_an_argument():
    """Whatever is typed stands in lists of processes and in histories: tokens and passwords come from files."""
    secret = re.compile(r"token|password|passphrase|secret|private")

    found = {(command, name) for command, name in parameters() if secret.search(name)}

    assert found == {
        ("backup create", "passphrase_file"),
        ("backup restore", "passphrase_file"),
        ("backup verify", "passphrase_file"),
        ("context add", "tokens_dir"),
        ("tui", "password_file"),
    }, "only folders and files are named, which are no secrets"


def test_s42_no_setting_reads_a_secret_from_the_environment():
    """Variables are inherited by everything that is started: none of ours holds a token or a key."""
    names = set()
    for path in SOURCES:
        names |= set(re.findall(r"\b(?:MAS|AGENT|GATEWAY)_[A-Z_]+\b", path.read_text()))

    assert not [name for name in names if re.search(r"TOKEN|PASSWORD|SECRET|PRIVATE", name)]
