"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Counts of one run; `scaled` makes them small for a try of the harness."""

    rounds: int = 5
    profile: str = "durable"
    """Of the server, for everybody who uses it: fast flushes to disk each second, durable before it answers."""
    scale: float = 1.0
    """Share of the usual counts; the smoke test of the harness takes a thousandth."""

    def count(self, usual: int, least: int = 100) -> int:
        """A count at this scale."""
        return max(least, int(usual * self.scale))
