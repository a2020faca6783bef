"""Help: of `mas` itself, of a group, and of one command, with the examples first."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill
from typing import Any

from mas_cli.command_table import GROUPS, RARER, SECTIONS, Command
from mas_cli.input.shared_flags import SHARED_FLAGS
from mas_cli.output.exit_codes import ExitCode
from mas_cli.reference.command_spec import exit_codes, further_text
from mas_cli.reference.topics import TOPICS
from mas_cli.routing import members

_INTRODUCTION = """\
mas: run, watch and prove multi-agent systems on Redis or Valkey.

  mas up                                start a server, a gateway and the agents of agents.d/
  mas discover                          list the agents that answer
  mas request calculator math.add '{"numbers":[1,2]}'
"""


def root_help() -> str:
    """The one screen that `mas` shows by itself; the rarer commands are only named."""
    rarer = [word for _, words in SECTIONS for word in words if word in RARER]
    return "\n".join(
        [
            _INTRODUCTION,
            *_sections(RARER),
            "More (what they do: mas help commands):",
            fill(", ".join(rarer), 100, initial_indent="  ", subsequent_indent="  "),
            "",
            "Every command takes --help, --output json and the flags of `mas help flags`.",
            f"Topics: mas help {', '.join(TOPICS)}",
        ]
    )


def every_command() -> str:
    """The first words of all commands, each with its summary."""
    return "\n".join([*_sections(frozenset()), "mas COMMAND --help says more."])


def _sections(left_out: frozenset[str]) -> Iterator[str]:
    summaries = {word: summary for word, summary in members(()) if word not in left_out}
    width = max(map(len, summaries))
    for section, words in SECTIONS:
        present = [word for word in words if word in summaries]
        if present:
            yield f"{section}:"
            yield from (f"  {word:<{width}}  {summaries[word]}" for word in present)
            yield ""


def group_help(path: tuple[str, ...]) -> str:
    """The commands of a group."""
    name = " ".join(path)
    rows = members(path)
    width = max(len(word) for word, _ in rows)
    return "\n".join(
        [
            f"{GROUPS[name]}.",
            "",
            "Usage:",
            f"  mas {name} COMMAND",
            "",
            "Commands:",
            *(f"  {word:<{width}}  {summary}" for word, summary in rows),
            "",
            f"mas {name} COMMAND --help says more.",
        ]
    )


def command_help(entry: Command) -> str:
    """The help page of a command."""
    from mas_cli.command_parser import parser_for

    parser = parser_for(entry)
    page: str = parser.get_help(parser.make_context(f"mas {entry.name}", [], resilient_parsing=True))
    return page


def write_command_help(entry: Command, command: Any, context: Any, formatter: Any) -> None:
    """Write the help page of a command into a formatter of its parser."""
    formatter.write(f"{entry.summary}{'' if entry.summary.endswith('?') else '.'}\n")
    if further := further_text(command):
        formatter.write(f"\n{further}\n")
    formatter.write("\nExamples:\n")
    formatter.write("".join(f"  {example}\n" for example in entry.examples))
    environment = {"help": "", **{spec.name: f"  [{spec.env}]" for spec in SHARED_FLAGS}}
    arguments, own, common = [], [], []
    pieces = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            pieces += parameter.get_usage_pieces(context)
            arguments.append((parameter.display_name_raw, record[1]))
        elif parameter.name in environment:
            common.append((record[0], f"{parameter.help}{environment[parameter.name]}"))
        else:
            own.append(record)
    formatter.write("\nUsage:\n")
    formatter.write(f"  {' '.join(('mas', entry.name, *pieces, '[flags]'))}\n")
    formatter.write(
        f"\nImpact: {entry.impact}{' on files of this machine' if entry.scope == 'local' else ''}\n"
    )
    for title, rows in (
        ("Arguments", arguments),
        ("Flags", own),
        ("Shared flags, before or after the command [environment]", common),
        (
            "Exit codes",
            [(str(code), text) for code, text in exit_codes(entry).items() if code < ExitCode.BUG],
        ),
    ):
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)
