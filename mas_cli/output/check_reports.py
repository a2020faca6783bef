"""Results of checks as monitoring reads them: Nagios' plugin output and Prometheus' text format.

Formats: the Nagios plugin development guidelines (status line, performance data) and Prometheus' exposition
format 0.0.4, for the text file collector of its node exporter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.safe_text import safe_text
from mas_core.errors import MasError

if TYPE_CHECKING:
    from mas_core.ops.checks.finding import Result

_NAGIOS = {"ok": (0, "OK"), "warn": (1, "WARNING"), "red": (2, "CRITICAL")}
_UNITS = {"s": "s", "%": "%"}
"""Units that Nagios knows."""


def nagios_code(results: Sequence[Result]) -> ExitCode:
    """0 to 2, the worst of all."""
    return ExitCode(max((_NAGIOS[item.status][0] for item in results), default=0))


def nagios_text(results: Sequence[Result]) -> str:
    """One line that says it, performance data, then a line for each that is not well."""
    _, word = _NAGIOS[max((item.status for item in results), key=lambda status: _NAGIOS[status][0])]
    troubled = [item for item in results if item.status != "ok"]
    troubled.sort(key=lambda item: -_NAGIOS[item.status][0])
    if troubled:
        text = f"{troubled[0].check.name}: {troubled[0].worst.message}"
        text += f" (and {len(troubled) - 1} more)" if len(troubled) > 1 else ""
    elif len(results) == 1:
        text = f"{results[0].check.name}: {results[0].worst.message}"
    else:
        text = f"{len(results)} checks are well"
    measured = " ".join(_performance(item) for item in results if item.value is not None)
    first = f"MAS {word} - {_said(text)}" + (f" | {measured}" if measured else "")
    rest = [
        f"{_NAGIOS[finding.status][1]} {item.check.name}: {_said(finding.message)}"
        + (f" - try: {_said(finding.fix)}" if finding.fix else "")
        for item in troubled
        for finding in item.findings
        if finding.status != "ok"
    ]
    return "\n".join([first, *rest]) + "\n"


def unknown_text(error: MasError) -> str:
    """The line of a check that could not be made."""
    return f"MAS UNKNOWN - {_said(error.message)}\n"


def prometheus_text(results: Sequence[Result]) -> str:
    """`mas_check_status` and `mas_check_value` of each check."""
    lines = [
        "# HELP mas_check_status How the check is: 0 well, 1 warning, 2 failed.",
        "# TYPE mas_check_status gauge",
        *(f'mas_check_status{{check="{item.check.name}"}} {_NAGIOS[item.status][0]}' for item in results),
        "# HELP mas_check_value What it measured, in the unit of mas check --list.",
        "# TYPE mas_check_value gauge",
        *(
            f'mas_check_value{{check="{item.check.name}"}} {item.value:.10g}'
            for item in results
            if item.value is not None
        ),
    ]
    return "\n".join(lines) + "\n"


def _performance(result: Result) -> str:
    unit = _UNITS.get(result.check.unit, "")
    text = f"{result.check.name}={result.value:.10g}{unit}"
    if result.bounds is None:
        return text
    colon = ":" if result.bounds.is_floor else ""
    return f"{text};{result.bounds.warn:g}{colon};{result.bounds.red:g}{colon};0"


def _said(text: str) -> str:
    """On one line, without the sign before performance data."""
    return safe_text(" ".join(text.split())).replace("|", "/")
