"""Errors that only a command line can have; everything else is an error of `mas_core`."""

from __future__ import annotations

from typing import Self

from mas_core.errors import MasError, NotFound, UsageError


class ReadOnly(UsageError):
    """This would change something, and the session is read-only."""

    code = "read_only"


class ConfirmationNeeded(UsageError):
    """This deletes something and nobody is there to ask."""

    code = "confirmation_needed"


class Cancelled(MasError):
    """Nothing was changed."""

    code = "cancelled"


class PartlyFailed(MasError):
    """Some of it worked and some did not."""

    code = "partly_failed"


class OutputFailed(MasError):
    """What the command has to tell cannot be written."""

    code = "output_failed"

    @classmethod
    def of(cls, error: OSError) -> Self:
        """The same in our words."""
        return cls(f"standard output cannot be written: {error.strerror}", hint="df -h")


class TopicNotFound(NotFound):
    """There is no help on this."""

    code = "topic_not_found"


class OutputClosed(Exception):
    """Whoever read standard output has gone."""


class Terminated(SystemExit):
    """SIGTERM arrived; ends the command from wherever it is, an event loop included."""
