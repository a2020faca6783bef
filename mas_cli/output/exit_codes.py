"""Exit codes, what they mean, and which error ends in which."""

from __future__ import annotations

from enum import IntEnum

from mas_cli.errors import Cancelled, OutputFailed, PartlyFailed
from mas_core.errors import (
    AgentFailed,
    ConfigurationError,
    Conflict,
    ContextNotFound,
    IntegrityError,
    InternalError,
    MasError,
    NoResponder,
    NotFound,
    Refused,
    StoreForbidden,
    TimedOut,
    Unreachable,
    UsageError,
)


class ExitCode(IntEnum):
    """What a command returns to the shell."""

    OK = 0
    NO = 1
    USAGE = 2
    UNREACHABLE = 3
    TIMED_OUT = 4
    REFUSED = 5
    NOT_FOUND = 6
    CONFLICT = 7
    PARTIAL = 8
    CANCELLED = 9
    BUG = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143

    @property
    def label(self) -> str:
        """The name in words, such as `timed out`."""
        return self.name.lower().replace("_", " ")

    @property
    def meaning(self) -> str:
        """When a command ends so."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.OK: "done, including an empty list",
    ExitCode.NO: "the answer is no: check failed, denied, mismatch, the agent replied with an error",
    ExitCode.USAGE: "bad flag, payload, configuration or spec; a question that nobody is there to answer",
    ExitCode.UNREACHABLE: "the server or the gateway cannot be reached",
    ExitCode.TIMED_OUT: "--timeout or a deadline passed",
    ExitCode.REFUSED: "the gateway said no; error.code says which policy",
    ExitCode.NOT_FOUND: "no such agent, message, rule, context, key; nobody answers",
    ExitCode.CONFLICT: "exists already, changed since it was read, or is locked",
    ExitCode.PARTIAL: "some items of a batch failed; JSON lists each",
    ExitCode.CANCELLED: "the question was answered with no",
    ExitCode.BUG: "a bug of mas; the path of the crash report is printed",
    ExitCode.INTERRUPTED: "Ctrl-C",
    ExitCode.PIPE_CLOSED: "whoever read the output has gone",
    ExitCode.TERMINATED: "SIGTERM",
}

EXIT_CODES: dict[type[MasError], ExitCode] = {
    MasError: ExitCode.BUG,
    UsageError: ExitCode.USAGE,
    ConfigurationError: ExitCode.USAGE,
    ContextNotFound: ExitCode.NOT_FOUND,
    NotFound: ExitCode.NOT_FOUND,
    Conflict: ExitCode.CONFLICT,
    Refused: ExitCode.REFUSED,
    AgentFailed: ExitCode.NO,
    Unreachable: ExitCode.UNREACHABLE,
    NoResponder: ExitCode.NOT_FOUND,
    TimedOut: ExitCode.TIMED_OUT,
    IntegrityError: ExitCode.NO,
    InternalError: ExitCode.BUG,
    StoreForbidden: ExitCode.REFUSED,
    PartlyFailed: ExitCode.PARTIAL,
    Cancelled: ExitCode.CANCELLED,
    OutputFailed: ExitCode.USAGE,
}
"""The row of a class counts for its subclasses that have none."""


def exit_code_of(error: MasError | type[MasError]) -> ExitCode:
    """The exit code that `error` ends in."""
    error_class = error if isinstance(error, type) else type(error)
    return next(EXIT_CODES[ancestor] for ancestor in error_class.__mro__ if ancestor in EXIT_CODES)
