"""The payloads of a batch of messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from mas_cli.input.line_feed import in_background, own_stream
from mas_cli.input.payload import PayloadSource, payload_lines, payloads
from mas_cli.input.prompts import announced
from mas_cli.invocation import Invocation
from mas_core.errors import InvalidPayload, MasError, UsageError


def batch(call: Invocation, source: PayloadSource, count: int) -> AsyncIterator[dict[str, object] | MasError]:
    """The payloads of a batch; what can be found wrong before anything is sent is raised here."""
    if source.lines:
        if count != 1:
            raise UsageError("--lines and --count exclude each other")
        if source.argument is None:
            raise UsageError("--lines needs a source", hint="- for standard input, or @file.jsonl")
        if source.argument == "-":
            lines = payload_lines(source, own_stream(call.stdin), before_stdin=announced(call))
            return in_background(lines)
        return _as_they_are(payload_lines(source, call.stdin))
    repeated = payloads(source, call.stdin, count=count, before_stdin=announced(call))
    first = next(repeated)

    def again() -> Iterator[dict[str, object]]:
        yield first
        yield from repeated

    return _as_they_are(again())


async def _as_they_are(
    items: Iterator[dict[str, object]] | Iterator[dict[str, object] | InvalidPayload],
) -> AsyncIterator[dict[str, object] | MasError]:
    for item in items:
        yield item
