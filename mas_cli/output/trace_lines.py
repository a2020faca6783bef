"""A trace as text: a tree of messages, and a waterfall of where the time went."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from mas_cli.output.colours import Palette, Style
from mas_cli.output.columns import Record
from mas_cli.output.moments import moment
from mas_cli.output.safe_text import cut, display_width, safe_text
from mas_cli.output.tables import Cell

if TYPE_CHECKING:
    from mas_core.ops.trace import Hop, HopEvent

STATUS_STYLES: dict[str, Style] = {
    "answered": "good", "delivered": "good", "held": "warn", "scheduled": "warn", "retrying": "warn",
}  # fmt: skip
Line = tuple[Cell, ...]
NAMED_STAGES = 4
"""Stages that a line of the tree names."""


def status_style(status: str) -> Style:
    """How a status is painted."""
    return STATUS_STYLES.get(status, "bad")


def hop_record(hop: Hop) -> Record:
    """A message and what came of it, as JSON output shows it."""
    return {
        "id": hop.id,
        "from": hop.sender,
        "to": hop.target,
        "type": hop.type,
        "bytes": hop.size,
        "status": hop.status,
        "began": moment(hop.began),
        "decided": moment(hop.decided),
        "ended": moment(hop.ended),
        "seconds": (hop.ended - hop.began) / 1000,
        "decision": hop.decision,
        "reason": hop.reason,
        "rule": hop.rule,
        "outcome": hop.outcome or None,
        "gateway": hop.gateway,
        "waited_ms": hop.waited_ms,
        "stages_us": hop.stages_us,
        "findings": [
            {"rule": finding.rule, "path": finding.path, "action": finding.action} for finding in hop.findings
        ],
        "trace_id": hop.trace_id,
        "partition": hop.partition,
        "seq": hop.seq,
        "events": [
            {
                "time": moment(event.time),
                "kind": event.kind,
                "reason": event.reason,
                "seq": event.seq,
                "details": event.details,
            }
            for event in hop.events
        ],
        "replies": [hop_record(reply) for reply in hop.replies],
        "children": [hop_record(child) for child in hop.children],
        "cut": hop.is_cut,
    }


def tree_lines(root: Hop) -> Iterator[Line]:
    """The story from top to bottom, each message below what it came from."""
    yield from _hop_lines(root, root.began, "", "", "")


def _hop_lines(hop: Hop, start: int, first: str, rest: str, what: str) -> Iterator[Line]:
    yield (
        Cell(first + what, "dim"),
        Cell(f"{safe_text(hop.sender, 64)} → {safe_text(hop.target, 64)}", "name"),
        Cell(f"  {safe_text(hop.type, 128)}  {hop.size} B  "),
        Cell(safe_text(hop.status, 30), status_style(hop.status)),
        Cell(f"  {_since(hop.began, start)}  {safe_text(hop.id, 64)}", "dim"),
    )
    steps: list[tuple[int, Line | Hop, str]] = [(hop.decided, _decision(hop), "")]
    if hop.stages_us:
        steps.append((hop.decided, (Cell(f"stages  {stages_text(hop.stages_us)}", "dim"),), ""))
    if hop.outcome:
        told = Cell(f"{safe_text(hop.target, 100)}: {safe_text(hop.outcome, 40)}")
        steps.append((hop.decided, (told,), ""))
    steps += [(event.time, _event(event), "") for event in hop.events]
    steps += [(child.began, child, "sends  ") for child in hop.children]
    steps += [(reply.began, reply, "reply  ") for reply in hop.replies]
    steps.sort(key=lambda step: step[0])
    if hop.is_cut:
        steps.append((hop.decided, (Cell("… it goes on; trace one of these ids to see more", "warn"),), ""))
    for place, (time, step, name) in enumerate(steps):
        is_last = place == len(steps) - 1
        branch, below = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
        if isinstance(step, tuple):
            yield (Cell(rest + branch, "dim"), Cell(f"{_since(time, start)}  ", "dim"), *step)
        else:
            yield from _hop_lines(step, start, rest + branch, rest + below, name)


def _decision(hop: Hop) -> Line:
    words = safe_text(hop.decision, 30) + (f" by {safe_text(hop.rule, 80)}" if hop.rule else "")
    style: Style | None = None if hop.decision == "allowed" else status_style(hop.status)
    found = ", ".join(
        f"{safe_text(finding.rule, 80)} at {safe_text(finding.path, 80)}" for finding in hop.findings
    )
    where = f"  {safe_text(hop.gateway, 40)} #{hop.seq}"
    return (
        Cell(words, style),
        Cell(f"  {safe_text(hop.reason, 300)}" if hop.reason else ""),
        Cell(f"  found {found}" if found else "", "warn"),
        Cell(f"{where}, waited {hop.waited_ms} ms", "dim"),
    )


def _event(event: HopEvent) -> Line:
    style: Style = "bad" if event.kind in ("delivery.dead", "dlq.dropped", "approval.rejected") else "warn"
    attempt = event.details.get("attempt")
    number = f" (attempt {attempt})" if isinstance(attempt, int) else ""
    return (
        Cell(safe_text(event.kind, 40) + number, style),
        Cell(f"  {safe_text(event.reason, 300)}"),
        Cell(f"  #{event.seq}", "dim"),
    )


def _since(time: int, start: int) -> str:
    """Milliseconds after the beginning; the beginning itself by the clock."""
    if time == start:
        return datetime.fromtimestamp(time / 1000).astimezone().strftime("%H:%M:%S.%f")[:12]
    return f"+{time - start} ms"


def stages_text(stages_us: dict[str, int]) -> str:
    """Times of the slowest stages, and of all others together."""
    slowest = sorted(stages_us.items(), key=lambda item: -item[1])
    told = [f"{safe_text(name, 30)} {microseconds} µs" for name, microseconds in slowest[:NAMED_STAGES]]
    if others := slowest[NAMED_STAGES:]:
        told.append(f"{len(others)} more {sum(took for _, took in others)} µs")
    return " · ".join(told)


def painted(line: Line, palette: Palette) -> str:
    """A line for a terminal."""
    parts = (palette.paint(cell.text, cell.style) if cell.style else cell.text for cell in line)
    return "".join(parts).rstrip()


class Span(NamedTuple):
    """A stretch of time in the waterfall."""

    depth: int
    name: str
    begin: int
    end: int
    status: str


def spans(hop: Hop, depth: int = 0) -> Iterator[Span]:
    """Stretches of time: in the ingress, at the agent, and those of what came of it."""
    yield Span(
        depth, f"{hop.sender} → {hop.target} {hop.type}", hop.began, max(hop.ended, hop.decided), hop.status
    )
    if hop.waited_ms:
        yield Span(depth + 1, "waits for the gateway", hop.began, hop.decided, "delivered")
    for event in hop.events:
        yield Span(
            depth + 1, event.kind, event.time, event.time, "dead" if "dead" in event.kind else "retrying"
        )
    after = sorted((*hop.children, *hop.replies), key=lambda other: other.began)
    if after and after[0].began > hop.decided:
        yield Span(depth + 1, f"at {hop.target}", hop.decided, after[0].began, "delivered")
    for other in after:
        yield from spans(other, depth + 1)


def waterfall_lines(root: Hop, width: int, *, ascii_only: bool = False) -> Iterator[Line]:
    """Bars on one scale of time; the slowest stretch that holds no other is marked."""
    found = list(spans(root))
    begin, end = root.began, max(span.end for span in found)
    length = max(1, end - begin)
    names = ["  " * min(span.depth, 8) + safe_text(span.name, 80) for span in found]
    name_width = min(max(map(display_width, names)), max(16, width // 2))
    room = max(10, width - name_width - 14)
    leaves = [
        place
        for place, span in enumerate(found)
        if place == len(found) - 1 or found[place + 1].depth <= span.depth
    ]
    slowest = max(leaves, key=lambda place: found[place].end - found[place].begin)
    full = "#" if ascii_only else "█"
    for place, span in enumerate(found):
        at = round((span.begin - begin) / length * (room - 1))
        size = max(1, round((span.end - span.begin) / length * room))
        line = (" " * at + full * min(size, room - at)).ljust(room)
        name = cut(names[place], name_width)
        is_slowest = place == slowest and span.end > span.begin
        yield (
            Cell(name + " " * (name_width - display_width(name)) + "  ", "bold" if is_slowest else None),
            Cell(line, status_style(span.status)),
            Cell(
                f" {span.end - span.begin:>6} ms{' ◂' if is_slowest else ''}", "bold" if is_slowest else "dim"
            ),
        )
