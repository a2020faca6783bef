"""`mas dlp`: what the scanner finds, without a running system."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from mas_cli.input.payload import given_value
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_core.errors import InvalidPayload, UsageError

if TYPE_CHECKING:
    from mas_core.model.decision import Finding
    from mas_core.ops.dlp import Scanning

Policy = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A policy.yaml, or a rule pack; the built-in rules if left out."),
]
Pack = Annotated[Path | None, typer.Option(metavar="FILE", help="A rule pack in place of the built-in one.")]
KeyFile = Annotated[Path, typer.Option("--key", metavar="FILE", help="File of the private key, mode 0600.")]

_FINDING = (
    Column("rule", style=lambda _: "name"),
    Column("category"),
    Column("path", flexible=True),
    Column("start"),
    Column("end"),
    Column("action"),
    Column("severity"),
)
_LINE_FINDING = (Column("line"), *_FINDING)
_RULES = (
    Column("id", style=lambda _: "name"),
    Column("category"),
    Column("action"),
    Column("severity"),
    Column("validator"),
    Column("context", flexible=True),
)
_CASES = (Column("name", flexible=True), Column("line"), Column("passed"), Column("problems"))


def scan(
    call: Invocation,
    payload: Annotated[
        str | None, typer.Argument(metavar="PAYLOAD", help="JSON, @file or - for standard input.")
    ] = None,
    *,
    lines: Annotated[
        str | None, typer.Option(metavar="FILE", help="JSON Lines: one payload a line; - for standard input.")
    ] = None,
    policy: Policy = None,
    pack: Pack = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Print the payload without what was found.")
    ] = False,
) -> ExitCode:
    """Find sensitive data in payloads.

    Tells kind and place, never the text. Places are JSON Pointers and offsets in characters of the value there.
    Rules that are off unless a policy switches them on are shown with the action off.
    """
    from mas_core.ops.dlp import scanning

    if (payload is None) == (lines is None):
        raise UsageError(
            "give a payload, or --lines with a file", hint=("mas dlp scan @payload.json", "mas help payloads")
        )
    used = scanning(policy, pack, with_off=True)
    if lines is not None:
        if redact:
            raise UsageError("--redact is for one payload, not for --lines")
        return _scan_lines(call, used, lines)
    assert payload is not None  # noqa: S101 - seen to above
    value = _value(call, payload)
    result = used.scanner.scan(value)  # type: ignore[arg-type]
    if redact:
        return _redacted(call, used, value)
    if result.action == "unscannable":
        call.talk.warn(result.reason)
    call.out.records(_FINDING, [_record(used, finding) for finding in result.findings])
    counted = [finding for finding in result.findings if _action(used, finding) != "off"]
    call.talk.count(f"{len(counted)} findings" if counted else "nothing found")
    return ExitCode.NO if counted or result.action == "unscannable" else ExitCode.OK


def rules(
    call: Invocation,
    *,
    policy: Policy = None,
    pack: Pack = None,
    category: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only pii, phi, pci, secret or custom.")
    ] = None,
) -> ExitCode:
    """List the rules and what they do about what they find."""
    from mas_core.ops.dlp import scanning

    used = scanning(policy, pack)
    shown: list[Record] = [
        {
            "id": rule.id,
            "category": rule.category,
            "action": used.action_of(rule.id),
            "severity": rule.severity,
            "validator": rule.validator,
            "context": list(rule.context),
        }
        for rule in used.pack.rules
        if category in {None, rule.category}
    ]
    call.out.records(_RULES, shown)
    call.talk.count(f"{len(shown)} rules of pack {used.pack.id} {used.pack.version}")
    return ExitCode.OK


def check_cases(
    call: Invocation,
    *,
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="YAML with a list `cases`.")],
    policy: Policy = None,
    pack: Pack = None,
) -> ExitCode:
    """Check what the rules find against what you expect.

    A case has a `value` and one or more of `find` (ids of rules), `not` (ids) and `action`, as in
    cases: [{name: a card, value: {n: "4111 1111 1111 1111"}, find: [card], action: block}]
    """
    from mas_core.ops.dlp import run_cases, scanning

    used = scanning(policy, pack)
    results = run_cases(file, used.scanner, (rule.id for rule in used.pack.rules))
    call.out.records(
        _CASES,
        [
            {
                "name": result.name,
                "line": result.line,
                "passed": result.passed,
                "problems": "; ".join(result.problems),
            }
            for result in results
        ],
    )
    failed = sum(not result.passed for result in results)
    call.talk.count(f"{failed} of {len(results)} cases failed" if failed else f"{len(results)} cases passed")
    return ExitCode.NO if failed else ExitCode.OK


def key(
    call: Invocation,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the private key is kept.")],
) -> ExitCode:
    """Make a key that found values can be encrypted to.

    The private key goes to a private file and never leaves it; what is printed is its public half, for
    dlp_keys: {NAME: ...} in policy.yaml and the action encrypt:NAME.
    """
    from mas_core.ops.dlp import make_key

    public = make_key(out)
    call.out.text(public, {"public_key": public, "file": str(out)})
    return ExitCode.OK


def decrypt(
    call: Invocation,
    payload: Annotated[str, typer.Argument(metavar="PAYLOAD", help="JSON, @file or - for standard input.")],
    *,
    key_file: KeyFile,
) -> ExitCode:
    """Open the values of a payload that were encrypted to your key."""
    from mas_core.ops import dlp as ops

    text, opened = ops.decrypt_value(_value(call, payload), key_file)
    call.out.document(text)
    call.talk.count(f"{opened} values opened")
    return ExitCode.OK if opened else ExitCode.NO


def hash_value(
    call: Invocation,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="@file, or - for standard input; its first line counts.")
    ],
    *,
    key_file: KeyFile,
) -> ExitCode:
    """Hash a value for the allow-list of a rule pack.

    The pack then says what is let pass without saying the value itself.
    """
    from mas_core.ops.dlp import allow_hash

    if source != "-" and not source.startswith("@"):
        raise UsageError(
            "a value in an argument is seen by others", hint="give it as @file or on standard input"
        )
    with _opened(source) as stream:
        line = stream.readline(10_000).decode(errors="replace").rstrip("\r\n")
    if not line:
        raise UsageError("the value is empty", hint="mas dlp hash @value.txt --key allow.key")
    digest = allow_hash(line, key_file)
    call.out.text(digest, {"hash": digest})
    return ExitCode.OK


def _scan_lines(call: Invocation, used: Scanning, source: str) -> ExitCode:
    from mas_core.ops.dlp import scan_lines

    bad = found = 0
    listed: list[Record] = []
    is_streamed = call.out.format in {Format.JSONL, Format.CSV, Format.NAME}
    with _opened(source) as stream:
        for number, result in scan_lines(used.scanner, stream):
            if isinstance(result, InvalidPayload):
                bad += 1
                call.talk.warn(f"line {number}: {result.message}")
                continue
            records = [{"line": number, **_record(used, finding)} for finding in result.findings]
            if result.action == "unscannable":
                call.talk.warn(f"line {number}: {result.reason}")
                records = [{"line": number, **_unscannable()}]
            for record in records:
                if is_streamed:
                    call.out.event(_LINE_FINDING, record, first=found == 0)
                else:
                    listed.append(record)
                found += record["action"] != "off"
    if not is_streamed:
        call.out.records(_LINE_FINDING, listed)
    call.talk.count(f"{found} findings" + (f", {bad} lines cannot be read" if bad else ""))
    if bad:
        return ExitCode.PARTIAL
    return ExitCode.NO if found else ExitCode.OK


def _redacted(call: Invocation, used: Scanning, value: object) -> ExitCode:
    from mas_core.ops.dlp import masked

    result = masked(used, value)
    if result is None:
        call.talk.warn("the payload cannot be looked through, so it is not printed")
        return ExitCode.NO
    clean, count = result
    call.out.document(clean)
    call.talk.count(f"{count} findings" if count else "nothing found")
    return ExitCode.NO if count else ExitCode.OK


def _record(used: Scanning, finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "category": finding.category,
        "path": finding.path,
        "start": finding.start,
        "end": finding.end,
        "action": _action(used, finding),
        "severity": finding.severity,
    }


def _unscannable() -> dict[str, object]:
    return {
        "rule": "unscannable",
        "category": "custom",
        "path": "",
        "start": 0,
        "end": 0,
        "action": "block",
        "severity": "high",
    }


def _action(used: Scanning, finding: Finding) -> str:
    return "off" if finding.rule in used.off else finding.action


def _value(call: Invocation, payload: str) -> object:
    """JSON, or the text of a file that holds none."""
    try:
        return given_value(payload, call.stdin)
    except InvalidPayload:
        if not payload.startswith("@") or payload.endswith((".json", ".yaml", ".yml")):
            raise
        try:
            return Path(payload[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{payload[1:]} cannot be read as text") from error


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    if source == "-":
        yield sys.stdin.buffer
        return
    path = Path(source.removeprefix("@"))
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file
