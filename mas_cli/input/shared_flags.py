"""The flags that every command has, before or after its name.

Declared once here: the router reads them in front of the command, the parser behind it, the help and the
completion list them, and each has an environment twin.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from mas_cli.input.durations import parse_duration
from mas_cli.output.formats import FORMATS, Format, parse_format


class FlagSpec(NamedTuple):
    """How one shared flag is written."""

    name: str
    declarations: tuple[str, ...]
    help: str
    env: str
    metavar: str
    default: bool | int | None
    is_setting: bool
    """The environment twin is read with the other settings, which know its rank among them."""

    @property
    def takes_value(self) -> bool:
        """Whether a value follows."""
        return self.default is None


def _flag(
    *declarations: str,
    help: str,
    env: str = "",
    metavar: str = "",
    default: object = None,
    is_setting: bool = False,
) -> Any:
    """A field of `SharedFlags`; with no `default` the flag takes a text."""
    metadata = {
        "declarations": declarations,
        "help": help,
        "env": env,
        "metavar": metavar,
        "is_setting": is_setting,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class SharedFlags:
    """The shared flags of one call, as they were typed."""

    context: str | None = _flag(
        "--context", "-c", metavar="CONTEXT", is_setting=True, help="Context to use, as in mas context list."
    )
    config: str | None = _flag(
        "--config", metavar="FILE", env="MAS_CONFIG_FILE", is_setting=True, help="Project file to use."
    )
    url: str | None = _flag(
        "--url", metavar="URL", is_setting=True, help="Server: redis://, rediss://, unix:// or memory://."
    )
    output: str | None = _flag("--output", "-o", metavar=FORMATS, help="Output format.")
    columns: str | None = _flag("--columns", metavar="A,B", help="Only these columns, in this order.")
    no_headers: bool = _flag("--no-headers", default=False, help="No header line in tables and CSV.")
    envelope: bool = _flag("--envelope", default=False, help="Wrap JSON as {schema, data}.")
    quiet: bool = _flag("--quiet", "-q", default=False, help="Say nothing but warnings and errors.")
    verbose: int = _flag("--verbose", "-v", default=0, help="Say more; -vv says most.")
    color: str | None = _flag("--color", metavar="auto|always|never", help="Colour in tables and messages.")
    no_input: bool = _flag("--no-input", default=False, help="Never ask; fail instead.")
    yes: bool = _flag("--yes", "-y", default=False, help="Answer yes to questions.")
    timeout: str | None = _flag("--timeout", metavar="DUR", help="Give up after this long, such as 30s.")
    read_only: bool = _flag("--read-only", default=False, help="Refuse everything that changes something.")
    pager: bool = _flag(
        "--pager",
        default=False,
        is_setting=True,
        help="On a terminal, a screen at a time; or name a program.",
    )
    utc: bool = _flag("--utc", default=False, help="Times in UTC instead of local time.")
    debug: bool = _flag("--debug", default=False, help="Tracebacks with errors.")

    def timeout_seconds(self) -> float | None:
        """The value of --timeout.

        Raises:
            UsageError: It is no duration.
        """
        return None if self.timeout is None else parse_duration(self.timeout, "--timeout")

    def output_format(self, default: Format = Format.TABLE) -> Format:
        """The value of --output, or `default`.

        Raises:
            UnknownFormat: There is no such format.
        """
        return default if self.output is None else parse_format(self.output)


SHARED_FLAGS: tuple[FlagSpec, ...] = tuple(
    FlagSpec(
        item.name,
        item.metadata["declarations"],
        item.metadata["help"],
        item.metadata["env"] or f"MAS_{item.name.upper()}",
        item.metadata["metavar"],
        item.default if isinstance(item.default, bool | int) else None,
        item.metadata["is_setting"],
    )
    for item in fields(SharedFlags)
)

BY_DECLARATION: dict[str, FlagSpec] = {text: spec for spec in SHARED_FLAGS for text in spec.declarations}


def typed_values(words: Sequence[str]) -> dict[str, str]:
    """The texts of shared flags that take one, by name, where no command is there to parse them."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        spec = BY_DECLARATION.get(name) or BY_DECLARATION.get(name[:2])
        if spec is not None and spec.takes_value:
            joined = name[2:] if not name.startswith("--") else ""
            found[spec.name] = value if equals else joined or (rest.pop(0) if rest else "")
    return found


def wants_json_errors(arguments: list[str], environ: Mapping[str, str] = os.environ) -> bool:
    """Whether an error has to be JSON; for errors that come up before the flags are parsed."""
    wanted = environ.get("MAS_OUTPUT", "")
    for index, argument in enumerate(arguments):
        if argument in {"-o", "--output"}:
            wanted = arguments[index + 1] if index + 1 < len(arguments) else ""
        elif argument.startswith("--output="):
            wanted = argument.partition("=")[2]
        elif argument.startswith("-o") and not argument.startswith("--"):
            wanted = argument[2:]
    return wanted.lower() in {Format.JSON, Format.JSONL}
