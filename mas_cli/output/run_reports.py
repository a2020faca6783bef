"""What happens while something runs: lines for people, or an event a line for programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mas_cli.errors import OutputClosed
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.safe_text import cut, safe_text

if TYPE_CHECKING:
    from mas_cli.invocation import Invocation
    from mas_cli.running import Lifetime
    from mas_core.ops.run_events import RunEvent

_COLUMNS = (
    Column("time", kind="time", width=19),
    Column("event", width=8),
    Column("agent", width=14),
    Column("message", flexible=True),
)
_STYLES: dict[str, Style] = {"ready": "good", "stopped": "dim", "started again": "warn"}
_STATE_WIDTH = 7


class RunReport:
    """Tells what happens, and tells the run's lifetime when it is ready and when nobody listens any more.

    Args:
        call: Whose output it is.
        notes: Name of an agent -> what it is for.
    """

    def __init__(self, call: Invocation, notes: Mapping[str, str] | None = None) -> None:
        self._out = call.out
        self._talk = call.talk
        self._quiet = call.flags.quiet
        self._notes = notes or {}
        self._width = max(len(name) for name in (*self._notes, "gateway"))
        self._lifetime: Lifetime | None = None
        self._is_closed = False
        self._is_first = True
        self._is_draining = False

    def lead(self, lifetime: Lifetime) -> None:
        """Tell `lifetime` what it has to know."""
        self._lifetime = lifetime

    def exit_code(self, *, drained: bool = True) -> ExitCode:
        """How the run ended."""
        if self._is_closed:
            return ExitCode.PIPE_CLOSED
        return ExitCode.OK if drained else ExitCode.PARTIAL

    @property
    def is_for_people(self) -> bool:
        """Whether lines are written, not events."""
        return self._out.format is Format.TABLE

    def __call__(self, event: RunEvent) -> None:
        """Tell about one event; never raises."""
        self._is_draining |= event.kind == "stopping"
        if event.kind == "ready" and self._lifetime:
            self._lifetime.is_ready = True
        if self.is_for_people:
            self._line(event)
        else:
            self._written(lambda: self._out.event(_COLUMNS, _record(event), first=self._is_first))
        self._is_first = False

    def text(self, text: str) -> None:
        """A line for people; `text` is safe already."""
        if self.is_for_people and not self._quiet:
            self._written(lambda: self._out.write(f"{text}\n"))

    def _written(self, write: Callable[[], None]) -> None:
        if self._is_closed:
            return
        try:
            write()
            self._out.flush()
        except (OutputClosed, OSError):
            self._is_closed = True
            if self._lifetime:
                self._lifetime.unheard()

    def _line(self, event: RunEvent) -> None:
        name = _instance(event)
        match event.kind:
            case "problem" if event.state == "exited" and event.agent_id:
                # what follows from it is told next, with the reason
                self._talk.detail(f"{name}: {event.message}")
            case "problem":
                self._talk.warn(f"{name}: {event.message}" if name else event.message)
                for line in event.hint:
                    self._talk.say(f"  try  {line}")
            case "server" | "gateway" | "grpc" | "notary" | "recorder":
                self._row(event.kind, event.state or "ready", event.message)
            case "agent" if event.state == "ready":
                self._row(event.agent_id, "ready", self._notes.get(event.agent_id, ""), event.number)
            case "agent" if event.state == "scaled":
                self._row(event.agent_id, "scaled", event.message)
            case "agent" if event.state == "reloaded":
                self._row("reloaded", "", event.message)
            case "agent" if event.state == "stopped":
                note = "" if self._is_draining else event.message.removeprefix("stopped").removeprefix("; ")
                self._row(event.agent_id, "stopped", note, event.number)
            case "ready":
                for line in event.hint:
                    self._talk.warn(line)
            case "stopping" if event.state == "working":
                self._talk.say(event.message)
            case "stopped":
                self.text(event.message[:1].upper() + event.message[1:] + ".")
            case _:
                self._talk.detail(f"{name}: {event.message}" if name else event.message)

    def _row(self, name: str, state: str, note: str, number: int = 0) -> None:
        shown = f"{name} #{number}" if number > 1 else name
        padded = safe_text(shown).ljust(self._width + 2)
        palette = self._out.options.palette
        style = _STYLES.get(state)
        word = palette.paint(state, style) if style else state
        padding = " " * max(0, _STATE_WIDTH - len(state))
        width = self._out.options.width
        room = None if width is None else max(1, width - 2 - len(padded) - 2 - _STATE_WIDTH - 2)
        text = safe_text(note) if room is None else cut(safe_text(note), room)
        self.text(f"  {padded}{word}{padding}  {text}".rstrip())


def _instance(event: RunEvent) -> str:
    return f"{event.agent_id}-{event.number}" if event.number else event.agent_id


def _record(event: RunEvent) -> dict[str, object]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "event": event.kind,
        "state": event.state or None,
        "agent": event.agent_id or None,
        "instance": event.number or None,
        "pid": event.pid or None,
        "message": event.message,
        "hint": list(event.hint),
    }
