"""Structured logs: one JSON object a line, through the standard library's logging.

A library decides neither where logs go nor whether: programs call `log_to_stderr`, others use `logging` as
they are used to. Log values are ids, counts and reasons; never payloads, tokens or texts of exceptions.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, cast

import structlog

from mas_core.base.known_secrets import hidden
from mas_core.base.traces import trace_of

ROOT = "mas_core"
MAX_FOREIGN_TEXT: Final = 1_000
"""Characters of what another library logs."""

# without a handler, logging would write warnings to standard error by itself
logging.getLogger(ROOT).addHandler(logging.NullHandler())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module; events are short names, facts are keywords."""
    return cast(
        "structlog.stdlib.BoundLogger",
        structlog.wrap_logger(
            logging.getLogger(name),
            wrapper_class=structlog.stdlib.BoundLogger,
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
                _first_things_first,
                structlog.processors.JSONRenderer(ensure_ascii=True),
                _without_known_secrets,
            ],
        ),
    )


def log_to_stderr(level: int = logging.INFO, *, of_everybody: bool = False, as_text: bool = False) -> None:
    """Write the logs of mas to standard error, a JSON line each.

    Args:
        level: From which level on.
        of_everybody: Whether what other libraries log is written so as well, from warnings on; for processes in
            which nobody else has a say.
        as_text: Whether lines are for people instead.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TextLine() if as_text else logging.Formatter("%(message)s"))
    root = logging.getLogger(ROOT)
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False
    if of_everybody:
        others = logging.StreamHandler(sys.stderr)
        others.setFormatter(_JsonLine())
        others.setLevel(logging.WARNING)
        logging.getLogger().handlers[:] = [others]
        logging.captureWarnings(capture=True)
        sys.excepthook = _log_crash


class _TextLine(logging.Formatter):
    """A record of ours as a line for people; values stay JSON, so that none of them can break the line."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            facts = json.loads(record.getMessage())
        except ValueError:
            facts = {}
        time, level, event = (str(facts.pop(name, "")) for name in ("time", "level", "event"))
        rest = [f"{name}={json.dumps(value, ensure_ascii=True)}" for name, value in facts.items()]
        return " ".join([time[:23], level.upper().ljust(7), event, *rest])


class _JsonLine(logging.Formatter):
    """What somebody else logged, as one line like ours; of an exception where it was, never what it says."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        facts = {"time": time, "level": record.levelname.lower(), "event": "log", "logger": record.name}
        facts["message"] = hidden(record.getMessage())[:MAX_FOREIGN_TEXT]
        if record.exc_info and record.exc_info[1] is not None:
            facts["message"] = str(record.msg).partition("\n")[0][:MAX_FOREIGN_TEXT]
            facts["trace"] = trace_of(record.exc_info[1])
        return json.dumps(facts, ensure_ascii=True)


def _log_crash(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    get_logger(ROOT).critical("crashed", trace=trace_of(error))


def _without_known_secrets(_logger: Any, _method: str, line: Any) -> str:
    return hidden(str(line))


def _first_things_first(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    first: dict[str, Any] = {name: event.pop(name) for name in ("time", "level", "event") if name in event}
    return first | dict(event)
