"""The help topics that are not about one command."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import mas_cli.errors
from mas_cli.input.shared_flags import SHARED_FLAGS
from mas_cli.output.exit_codes import ExitCode, exit_code_of
from mas_core.errors import MasError

PAYLOADS = """\
A payload is a JSON object. Say it in one of these ways:

  '{"a": 1}'        as an argument
  @file.json        from a file; @file.yaml and @file.yml are read as YAML
  -                 from standard input, and only then is standard input read
  (nothing)         the empty object

Fields can be set by flags, on top of any of these:

  -F key=value      a string
  -J key:=json      any JSON value, such as -J count:=3 or -J tags:='["a","b"]'

--lines takes every line of the argument, file or standard input as a message of its own.
--template fills in {{count}}, {{id}}, {{now}} and {{random 8}}; without it braces are left alone.

Refused: text that is not UTF-8, a key that is there twice, NaN and infinities, more than 64 levels.
"""

OUTPUT = """\
Data goes to standard output, talk to standard error.

  --output table    for people (the default); on a terminal the widest column is cut with …,
                    in a pipe nothing is cut
  --output json     lists are arrays, single things objects, streams one object a line
  --output jsonl    one object a line
  --output yaml     the same as JSON
  --output csv      the columns of the table, whole values
  --output name     the first column alone, one a line

  --columns a,b     choose columns; with JSON, choose fields; dots lead into nested objects
  --no-headers      no header line
  --envelope        wrap JSON as {"schema": "mas.agent.list/1", "data": ...}

Times are RFC 3339 in UTC in JSON, local time or "4s ago" in tables (--utc: always UTC). Durations are seconds
in JSON. With json and jsonl an error is one line of JSON on standard error and standard output stays empty.
Control characters and invisible characters are shown or escaped, never sent to the terminal.
Colour: --color, then NO_COLOR, FORCE_COLOR and TERM=dumb; never in JSON, YAML or CSV.
"""

CONTEXTS = """\
A context is a name for a server and how to reach it, kept in your own configuration folder.

  mas context add prod --url rediss://db.example:6380
  mas context select prod
  mas --context prod status

Which server a command works with, first match wins:

  --url, --context, MAS_URL, MAS_CONTEXT, the project found by walking up from the current folder,
  the selected context

`mas config where` shows what was chosen and why. A protected context asks for its name before anything is
deleted; a read-only one refuses every change.
"""

SELECTORS = """\
Selectors choose by metadata. Several, or several joined by commas, have to hold all at once.

  zone=eu           equal
  tier!=free        not equal, or not there
  gpu               is there
  !gpu              is not there
"""

TIME = """\
Moments (--since, --until):

  1h30m             that long ago
  2026-01-31        midnight, local time (with --utc: UTC)
  2026-01-31T09:30:00Z
  now, today, yesterday

Durations (--timeout, --ttl): 250ms, 30s, 5m, 1h30m, 7d, or plain seconds.
"""


EXPRESSIONS = """\
--where, --until and --expect take a JMESPath expression (jmespath.org) over the JSON of what is shown: of a
stream its newest line, of --watch the whole look, of a reply its payload. It holds unless it gives false, null or
something empty.

  mas watch --where "decision != 'allowed' && ms > `100`"
  mas status --watch --until 'backlog == `0`' --timeout 5m
  mas agent list --watch --until "length([?status=='running']) >= `3`"
  mas request calculator math.add '{"numbers":[1,2]}' --expect 'result == `3`'

Numbers stand in backquotes, texts in single quotes. --timeout ends the wait with exit code 4.
"""


def keys_text() -> str:
    """The keys of the dashboard, as tui.keys can change them."""
    from mas_cli.tui.key_table import KEYS

    width = max(len(key.id) for key in KEYS)
    lines = [f"  {key.id:<{width}}  {key.keys.replace(',', ', '):<24}  {key.label}" for key in KEYS]
    head = "The keys of mas tui. tui.keys in mas.yaml gives others; mas tui keys lists them as they are here.\n\n"
    return head + "\n".join(line.rstrip() for line in lines) + "\n"


def exit_code_rows() -> list[dict[str, object]]:
    """Every exit code, for a table."""
    return [{"code": int(code), "name": code.label, "when": code.meaning} for code in ExitCode]


def error_rows() -> list[dict[str, object]]:
    """Every error code, for a table."""
    return [
        {
            "code": error.code,
            "exit": int(exit_code_of(error)),
            "retryable": error.retryable,
            "meaning": " ".join((error.__doc__ or "").partition("\n\n")[0].split()),
        }
        for error in _errors(MasError)
    ]


def flags_text() -> str:
    """The shared flags and their environment twins."""
    left = [f"{', '.join(reversed(spec.declarations))} {spec.metavar}".rstrip() for spec in SHARED_FLAGS]
    width = max(map(len, left))
    lines = [
        f"  {flag:<{width}}  {spec.help}  [{spec.env}]" for flag, spec in zip(left, SHARED_FLAGS, strict=True)
    ]
    head = "Every command has these flags, before or after its name; the last one given wins.\n\n"
    return head + "\n".join(lines) + "\n"


def commands_text() -> str:
    """Every command's first word."""
    from mas_cli.reference.help_pages import every_command

    return every_command()


def operators_text() -> str:
    """Roles of operators and what they permit."""
    from mas_cli.reference.role_pages import help_text

    return help_text()


TEXTS: dict[str, Callable[[], str]] = {
    "commands": commands_text,
    "payloads": lambda: PAYLOADS,
    "output": lambda: OUTPUT,
    "contexts": lambda: CONTEXTS,
    "selectors": lambda: SELECTORS,
    "expressions": lambda: EXPRESSIONS,
    "time": lambda: TIME,
    "keys": keys_text,
    "flags": flags_text,
    "operators": operators_text,
}
TOPICS = ("exit-codes", "errors", *TEXTS)


def _errors(error: type[MasError]) -> Iterator[type[MasError]]:
    """`error` and what derives from it, those of the command line included."""
    if error.__module__ in {MasError.__module__, mas_cli.errors.__name__}:
        yield error
        for derived in error.__subclasses__():
            yield from _errors(derived)
