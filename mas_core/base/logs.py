"""Structured logs: one JSON object a line, through the standard library's logging.

A library decides neither where logs go nor whether: programs call `log_to_stderr`, others use `logging` as
they are used to. Log values are ids, counts and reasons; never payloads, tokens or texts of exceptions.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

ROOT = "mas_core"

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
            ],
        ),
    )


def log_to_stderr(level: int = logging.INFO) -> None:
    """Write the logs of mas to standard error, a JSON line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger(ROOT)
    root.handlers[:] = [handler]
    root.setLevel(level)
    root.propagate = False


def _first_things_first(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    first: dict[str, Any] = {name: event.pop(name) for name in ("time", "level", "event") if name in event}
    return first | dict(event)
