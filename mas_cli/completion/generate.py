"""The generated files of completion: the scripts in `completions/` and the table of the fast path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mas_cli.command_parser import parser_for
from mas_cli.command_table import COMMANDS, GROUPS, Command
from mas_cli.completion import word_table
from mas_cli.completion.scripts import SCRIPTS
from mas_cli.completion.word_table import CommandWords, Flags, WordTable
from mas_cli.input.shared_flags import SHARED_FLAGS
from mas_cli.output.documents import json_text

COMPLETIONS = Path(__file__).parents[2] / "completions"

_OF_FLAGS = {("--type", "GLOB"): "TYPE"}
_OF_ARGUMENTS = {"ID": "MESSAGE"}
"""Kinds of values that a metavar alone does not tell."""

_HELP: Flags = {"--help": ["Show help.", ""], "-h": ["Show help.", ""]}


def generated() -> dict[Path, str]:
    """Every generated file and what belongs in it."""
    files = {COMPLETIONS / name: text for name, text in SCRIPTS.values()}
    files[word_table.PATH] = json_text(words(), indent=1) + "\n"
    return files


def words() -> WordTable:
    """The table of the fast path."""
    shared = {name: [spec.help, spec.metavar] for spec in SHARED_FLAGS for name in spec.declarations}
    return {
        "groups": GROUPS,
        "commands": {entry.name: _command_words(entry) for entry in COMMANDS},
        "shared": {**shared, **_HELP},
    }


def _command_words(entry: Command) -> CommandWords:
    parser: Any = parser_for(entry)
    context = parser.make_context("mas", [], resilient_parsing=True)
    shared = {"help", *(spec.name for spec in SHARED_FLAGS)}
    flags: Flags = {}
    arguments: list[str] = []
    for parameter in parser.get_params(context):
        if parameter.param_type_name == "argument":
            kind = (parameter.metavar or "TEXT").removesuffix("...").strip("[]")
            arguments.append(_OF_ARGUMENTS.get(kind, kind) + ("..." if parameter.nargs == -1 else ""))
        elif parameter.name not in shared:
            is_switch = parameter.is_flag or parameter.count
            value = "" if is_switch else parameter.metavar or "TEXT"
            for name in (*parameter.opts, *parameter.secondary_opts):
                flags[name] = [parameter.help or "", _OF_FLAGS.get((name, value), value)]
    return {"summary": entry.summary, "flags": flags, "arguments": arguments}
