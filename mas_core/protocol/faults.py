"""Errors as they travel: code, message, hints and facts."""

from __future__ import annotations

import json

from mas_core import errors
from mas_core.errors import MasError
from mas_core.protocol.frames_pb2 import Error

_CLASSES = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MasError)
}


def fault_of(error: MasError) -> Error:
    """An error as it is sent."""
    details = json.dumps(error.details, default=str) if error.details else ""
    return Error(code=error.code, message=error.message, hints=list(error.hint), details=details)


def error_of(fault: Error) -> MasError:
    """The error that was sent; of a code that is not known here it is a plain MasError."""
    details: dict[str, object] = {}
    if fault.details:
        found = json.loads(fault.details)
        details = {str(name): value for name, value in found.items()} if isinstance(found, dict) else {}
    # The texts of some errors are made of their facts, so it is not theirs to make them again.
    kind = _CLASSES.get(fault.code, MasError)
    error = kind.__new__(kind)
    MasError.__init__(error, fault.message, hint=tuple(fault.hints))
    error.details = details
    return error
