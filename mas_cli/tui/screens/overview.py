"""Overview: how busy it is, what is wrong and what to type, who talks most, and what gateways do."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mas_cli.output.columns import Record, duration
from mas_cli.output.safe_text import safe_text
from mas_cli.output.stage_bars import stage_lines
from mas_cli.output.tables import Cell, Layout
from mas_cli.tui.actions import Action, Answers
from mas_cli.tui.pane import Pane
from mas_cli.tui.widgets.bars import Bar, sparkline
from mas_cli.tui.widgets.line_table import LineTable, Rows
from mas_cli.tui.widgets.prose import Prose, painted_lines

if TYPE_CHECKING:
    from mas_core.ops.system import System

SLEEP_S = 3600.0
LITTLE = 10
"""Decisions below which somebody seems to be new here."""


class Overview(Pane):
    """Four panes."""

    title: ClassVar[str] = "Overview"
    about: ClassVar[str] = "How busy the system is, what is wrong with it, and what to type about that."
    hints: ClassVar[tuple[tuple[str, str], ...]] = (("row.open", "go there"),)
    every: ClassVar[float] = 5.0
    DEFAULT_CSS = """
    Overview #pulse { height: 6; }
    Overview #problems-box { height: 2fr; }
    Overview #lower { height: 3fr; }
    Overview #lower > Vertical { width: 1fr; }
    .-narrow Overview #lower { layout: vertical; }
    .-narrow.-low Overview #problems-box { height: 3fr; }
    """

    def compose(self) -> ComposeResult:
        """Pulse, problems, pairs, gateways."""
        with Vertical(id="pulse", classes="titled") as box:
            box.border_title = "pulse, last 5 minutes"
            for name in ("in", "refused", "p95", "backlog"):
                yield Bar(id=f"pulse-{name}")
        with Vertical(id="problems-box", classes="titled") as box:
            box.border_title = "problems"
            yield LineTable(
                [Layout("since", right=True), Layout("what", flexible=True), Layout("type", whole=True)],
                empty="nothing is wrong",
                id="problems",
            )
        with Horizontal(id="lower"):
            with Vertical(classes="titled") as box:
                box.border_title = "busiest pairs"
                yield LineTable(
                    [Layout("from"), Layout("to"), Layout("msg/s", right=True), Layout("share", right=True)],
                    empty="nobody has sent anything in the last minute",
                    id="pairs",
                )
            with Vertical(classes="titled") as box:
                box.border_title = "gateways"
                yield Prose(id="gateways")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self._since: dict[str, float] = {}

    async def load(self, system: System) -> None:
        """What the stages took lately."""
        from mas_core.ops.stage_times import stage_times

        self.board.stages = await stage_times(system)

    def draw(self) -> None:
        """Show what is known."""
        self._draw_pulse()
        board = self.board
        self.part("#problems", LineTable).empty = self._nothing_wrong()
        self.part("#problems", LineTable).show(
            Rows(self._problems(), lambda problem: problem["message"], self._problem_cells)
        )
        self.part("#pairs", LineTable).show(
            Rows(
                board.live.busiest(),
                lambda pair: pair[:2],
                lambda pair: [
                    Cell(safe_text(pair[0], 60), "name"), Cell(safe_text(pair[1], 60), "name"),
                    Cell(f"{pair[2]:.1f}"), Cell(f"{pair[3]:.0%}"),
                ],
            )
        )  # fmt: skip
        self.part("#gateways", Prose).say(self._gateways())

    def _draw_pulse(self) -> None:
        live, status = self.board.live, self.board.status
        width = max(10, self.size.width - 34)
        coming, refused = live.rates()
        rows = {
            "in": ("in", f"{coming:.0f}/s", live.series("in"), ""),
            "refused": ("refused", f"{refused:.0f}/s", live.series("refused"), "yellow"),
            "p95": ("waited p95", f"{(live.series('p95') or [0])[-1]:.0f} ms", live.series("p95"), "cyan"),
        }
        for name, (label, now, values, style) in rows.items():
            text = Text(f"{label:12}{now:>10}  ")
            text.append(sparkline(values, width, ascii_only=self.dashboard.is_ascii), style or "green")
            self.part(f"#pulse-{name}", Bar).say(text)
        text = Text()
        if status is not None:
            text.append(f"{'waiting':12}{status.backlog:>10,}  ")
            text.append(
                f"at the gateway {status.waiting_frames:,}   dead letters {status.dead_letters:,}", "dim"
            )
        self.part("#pulse-backlog", Bar).say(text)

    def _nothing_wrong(self) -> str:
        """While little has happened, with commands that make something happen."""
        tries = self.board.tries if self.board.live.seen < LITTLE else ()
        if not tries or self.board.status is None:
            return "nothing is wrong"
        return "nothing is wrong; type in a shell:\n" + "\n".join(
            f"$ {safe_text(line, 200)}" for line in tries
        )

    def _problems(self) -> list[dict[str, Any]]:
        board = self.board
        told: list[tuple[str, str]] = []
        if board.problem is not None:
            told.append((board.problem.message, next(iter(board.problem.hint), "mas status")))
        elif board.status is not None:
            told += [(problem.message, problem.fix) for problem in board.status.problems]
        now = time.monotonic()
        self._since = {message: self._since.get(message, now) for message, _ in told}
        board.asleep = {message: until for message, until in board.asleep.items() if until > now}
        return [
            {"message": message, "fix": fix, "seconds": now - self._since[message]}
            for message, fix in told
            if message not in board.asleep
        ]

    def _problem_cells(self, problem: Record) -> Sequence[Cell]:
        return (
            Cell(duration(float(str(problem["seconds"])) // 1), "dim"),
            Cell(safe_text(problem["message"], 300), "warn"),
            Cell(safe_text(problem["fix"], 200), "name"),
        )

    def _gateways(self) -> Text:
        text = Text(no_wrap=True)
        status = self.board.status
        for gateway in status.gateways if status is not None else ():
            text.append(f"{safe_text(gateway.gateway_id, 40)}", "bold")
            parts = ", ".join(map(str, gateway.partitions)) or "none"
            text.append(f"  partitions {parts}  messages {gateway.messages:,}  cpu {gateway.cpu_s:.1f} s")
            text.append(f"  {safe_text(gateway.host, 40)}:{gateway.pid}\n", "dim")
        if status is not None and not status.gateways:
            text.append("no gateway is running: messages wait\n", "red bold")
        if self.board.stages is not None and self.board.stages.stages:
            text.append("\n")
            width = self.part("#gateways", Prose).size.width
            text.append_text(
                painted_lines(stage_lines(self.board.stages, width, ascii_only=self.dashboard.is_ascii))
            )
        return text

    def open(self, item: Any) -> None:
        """To the place that a problem is about."""
        if isinstance(item, tuple):
            self.dashboard.go("Live")
            self.dashboard.pane.set_filter(f"from:{item[0]} to:{item[1]}")
            return
        words = str(item["fix"]).split()
        place = {"dlq": "Dead", "rbac": "Rules", "audit": "Audit", "agent": "Agents", "bus": "Queues"}
        self.dashboard.go(place.get(words[1] if len(words) > 1 else "", "Agents"), words[-1])

    def name_of(self, item: Any) -> str:
        """The words of a problem, or a pair."""
        return f"{item[0]} → {item[1]}" if isinstance(item, tuple) else str(item.get("message", ""))

    def command_of(self, item: Any) -> tuple[str, ...]:
        """What mends a problem, or the messages of a pair."""
        if isinstance(item, tuple):
            return ("watch", "--from", item[0], "--to", item[1])
        return tuple(shlex.split(str(item["fix"]))[1:])

    def actions(self) -> Sequence[Action]:
        """A problem can be put to sleep."""
        return (
            Action("problem.sleep", "acknowledge for an hour", "read", lambda *_: ("status",), self._sleep),
        )

    async def _sleep(self, system: System, record: Record, answers: Answers) -> str:  # noqa: ARG002 - one signature for all
        self.board.asleep[str(record["message"])] = time.monotonic() + SLEEP_S
        return "back in an hour, if it is still so"
