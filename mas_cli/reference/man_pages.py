"""Man pages (roff, the macros of man(7)), one for `mas` and one for each command."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mas_cli.command_table import COMMANDS, SECTIONS, Command
from mas_cli.input.shared_flags import SHARED_FLAGS
from mas_cli.reference.command_spec import describe
from mas_cli.reference.markdown_pages import outputs, usage
from mas_cli.reference.topics import exit_code_rows

_BREAK = "\\:"
"""Where a long word may go on in the next line."""


def man_pages(version: str) -> dict[str, str]:
    """Name of the file and text of every page."""
    return {"mas.1": _overview(version)} | {
        f"{_page_name(entry.name)}.1": _command(entry, version) for entry in COMMANDS
    }


def _overview(version: str) -> str:
    lines = [
        *_head("mas", "run, watch and prove multi-agent systems", version),
        *(".SH SYNOPSIS", ".B mas", _text("COMMAND [ARGUMENTS] [flags]")),
        *(
            ".SH DESCRIPTION",
            _text("Agents talk through a gateway that checks, records and delivers messages."),
        ),
        _text("Each command has a page of its own, such as mas-status(1)."),
    ]
    for section, words in SECTIONS:
        lines.append(f".SS {_quoted(section)}")
        for entry in COMMANDS:
            if entry.name.split()[0] in words:
                lines += _item(f"mas {entry.name}", entry.summary)
    lines.append(".SH FLAGS OF EVERY COMMAND")
    for spec in SHARED_FLAGS:
        name = f"{', '.join(reversed(spec.declarations))} {spec.metavar}".rstrip()
        lines += _item(name, f"{spec.help} Environment: {spec.env}.")
    lines.append(".SH EXIT STATUS")
    for row in exit_code_rows():
        lines += _item(str(row["code"]), str(row["when"]))
    return "\n".join(lines) + "\n"


def _command(entry: Command, version: str) -> str:
    command: Mapping[str, Any] = describe(entry)
    lines = [
        *_head(_page_name(entry.name), entry.summary, version),
        *(".SH SYNOPSIS", f".B {_escaped(usage(command))}"),
        ".SH DESCRIPTION",
        _text(entry.summary + ("" if entry.summary.endswith("?") else ".")),
    ]
    for paragraph in filter(None, command["description"].split("\n\n")):
        lines += [".PP", *(_text(line) for line in paragraph.splitlines())]
    lines += [".PP", _text(f"Impact: {entry.impact}. Output: {outputs(command)}.")]
    if command["arguments"]:
        lines.append(".SH ARGUMENTS")
        for item in command["arguments"]:
            lines += _item(item["name"], item["help"])
    lines.append(".SH OPTIONS")
    for item in command["flags"]:
        lines += _item(f"{', '.join(item['flags'])} {item['value']}".rstrip(), item["help"])
    lines += [".PP", _text("The flags of every command are in mas(1).")]
    lines.append(".SH EXIT STATUS")
    for item in command["exit_codes"]:
        lines += _item(str(item["code"]), item["when"])
    lines += [".SH EXAMPLES", ".nf", *(_text(example) for example in entry.examples), ".fi"]
    lines += [".SH SEE ALSO", _text("mas(1)")]
    return "\n".join(lines) + "\n"


def _head(name: str, summary: str, version: str) -> Iterable[str]:
    yield f'.TH {_quoted(name.upper())} 1 "" {_quoted(f"mas {version}")} "mas"'
    yield from (".ad l", ".nh")
    yield ".SH NAME"
    yield f"{_escaped(name)} \\- {_escaped(summary)}"


def _item(name: str, text: str) -> Iterable[str]:
    yield ".TP"
    yield f".B {_escaped(name).replace('|', '|' + _BREAK)}"
    yield _text(text or name)


def _page_name(command: str) -> str:
    return f"mas-{command.replace(' ', '-')}"


def _text(line: str) -> str:
    """A line of text: one that begins like a request is no request."""
    escaped = _escaped(line)
    return f"\\&{escaped}" if escaped.startswith((".", "'", "\\(aq")) else escaped


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace('"', "\\(dq") + '"'


def _escaped(text: str) -> str:
    """Signs that roff reads, spelled so that they can be copied from the page as they are."""
    named = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}
    return "".join(named.get(sign, sign if sign < "\x7f" else f"\\[u{ord(sign):04X}]") for sign in text)
