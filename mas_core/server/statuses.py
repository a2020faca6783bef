"""Which status of gRPC stands for which of our errors, once somebody is let in."""

from __future__ import annotations

from typing import Final

import grpc

from mas_core.errors import (
    AgentFailed,
    Backpressure,
    CircuitOpen,
    ConfigurationError,
    Conflict,
    CoordinationRefused,
    IntegrityError,
    MasError,
    NotFound,
    RateLimited,
    Refused,
    StoreFull,
    TimedOut,
    Unauthenticated,
    Unreachable,
    UsageError,
)

_STATUSES: Final = (
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (RateLimited, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Backpressure, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StoreFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (CircuitOpen, grpc.StatusCode.UNAVAILABLE),
    (Refused, grpc.StatusCode.PERMISSION_DENIED),
    (Unreachable, grpc.StatusCode.UNAVAILABLE),
    (TimedOut, grpc.StatusCode.DEADLINE_EXCEEDED),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (UsageError, grpc.StatusCode.INVALID_ARGUMENT),
    (Conflict, grpc.StatusCode.ABORTED),
    (ConfigurationError, grpc.StatusCode.FAILED_PRECONDITION),
    (CoordinationRefused, grpc.StatusCode.FAILED_PRECONDITION),
    (AgentFailed, grpc.StatusCode.UNKNOWN),
    (IntegrityError, grpc.StatusCode.DATA_LOSS),
)


def status_of(error: MasError) -> grpc.StatusCode:
    """The status that a call ends with; docs/protocol.md has the table."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
