"""The attacks of the threat model and the tests that name them: `test_s<row>_...`.

`python tests/support/attack_rows.py` prints the table of docs/attacks.md.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]

ROWS = {
    1: "a valid token, and another's name as sender",
    2: "XADD straight into another agent's stream",
    3: "XADD into an inbox with the server's own password",
    4: "a stolen token used from elsewhere",
    5: "a token that was revoked, an agent that was removed",
    6: "key rotation under load",
    7: "a token looked for in everything that is written",
    8: "timing of comparisons",
    9: "replay of a captured frame",
    10: "signatures: changed, stripped, downgraded, of another",
    11: "a reply to somebody else's request",
    12: "access denied by default, broken and missing policies",
    13: "a confused deputy",
    14: "wildcards and look-alikes as names",
    15: "ways around the rate limit",
    16: "evasions of the scan",
    17: "what is left after redaction",
    18: "ciphertext on a scanned route",
    19: "payloads of 1 MB and a byte, 10 MB, 1 GB declared",
    20: "JSON that two readers read differently",
    21: "bombs: gzip, nested encodings",
    22: "patterns that take for ever",
    23: "hostile YAML",
    24: "class paths to code from elsewhere",
    27: "cells that a spreadsheet takes for formulas",
    28: "terminal escapes, markup and invisible characters in what is shown",
    29: "newlines, escapes and forged records in logs",
    30: "an audit that was edited, cut, rolled back, forked or written anew",
    31: "an audit that cannot be written",
    32: "guessing a payload from its fingerprint",
    33: "failing on purpose to open a circuit for all",
    34: "everything at the highest priority",
    35: "votes that are double, late, forged, replayed or counted wrong",
    36: "a former leader that writes after its lease",
    37: "certificates: none, of others, two names, wrong names, expired, revoked",
    38: "capabilities and metadata that poison the registry",
    39: "heartbeats that are forged or late",
    40: "states of others, strange keys, huge values",
    41: "what our dependencies and we run",
    42: "secrets in arguments, environment, open files",
}

LATER = {
    2: "needs a Redis user for each agent, which comes with server mode",
}
"""Rows whose defence is not built yet."""

_NAME = re.compile(r"test_s([0-9]{1,2})_")


def rows_with_tests() -> dict[int, list[str]]:
    """Row -> ids of the tests that name it, sorted."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := _NAME.match(node.name)):
                found[int(match[1])].append(f"{path.relative_to(TESTS.parent)}::{node.name}")
    return {row: sorted(names) for row, names in found.items()}


def table() -> str:
    """Every row with the files of its tests."""
    found = rows_with_tests()
    lines = ["| Row | Attack | Tests |", "|---|---|---|"]
    for row, attack in ROWS.items():
        files = sorted({name.partition("::")[0] for name in found.get(row, ())})
        told = ", ".join(f"`{file}`" for file in files) if files else f"later: {LATER.get(row, 'missing')}"
        lines.append(f"| S{row} | {attack} | {told} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
