"""What a program needs around operations: an event loop to run them on, and where logs go."""

from mas_core.base.event_loop import run
from mas_core.base.logs import log_to_stderr

__all__ = ["log_to_stderr", "run"]
