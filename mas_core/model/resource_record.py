"""Names under which what is known of resources is sealed."""

from __future__ import annotations


def record_purpose(kind: str, name: str) -> str:
    """What the record of a resource that is open is sealed for."""
    return f"resource:{kind}:{name}"


def finished_purpose(kind: str, name: str) -> str:
    """What the last record of a resource that is over is sealed for."""
    return f"finished:{kind}:{name}"
