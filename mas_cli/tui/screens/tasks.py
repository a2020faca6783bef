"""Tasks and votes: who does what, what is being decided, and who leads which group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mas_cli.output.columns import Column, Record
from mas_cli.output.coordination_rows import (
    LEADER_COLUMNS,
    TASK_COLUMNS,
    leader_row,
    task_row,
    vote_row,
    vote_style,
)
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell
from mas_cli.tui.actions import Action
from mas_cli.tui.pane import TablePane, cells_of, layouts_of
from mas_cli.tui.screens.task_actions import LEADER_ACTIONS, TASK_ACTIONS, VOTE_ACTIONS
from mas_cli.tui.widgets.bars import bar
from mas_cli.tui.widgets.line_table import LineTable, Rows
from mas_core.errors import SecretUnavailable

if TYPE_CHECKING:
    from mas_core.ops.system import System

STATES: Final = ("waiting", "running", "done", "failed", "cancelled")
COUNTED: Final = 20
"""Open votes that are counted for their bars."""
BAR: Final = 10
_VOTE_COLUMNS = (
    Column("title", flexible=True),
    Column("state", style=vote_style),
    Column("bar", header="votes"),
    Column("voted"),
    Column("deadline", kind="clock"),
)


class Tasks(TablePane):
    """Tasks above, votes and leaders below."""

    title: ClassVar[str] = "Tasks"
    about: ClassVar[str] = "Who does what, what is being decided and how far it is, and who leads."
    empty: ClassVar[str] = "no task is open, and none ended within the last hour\n$ mas task assign TYPE"
    hints: ClassVar[tuple[tuple[str, str], ...]] = (
        ("view.group", "by state"),
        ("view.next", "tasks, votes, leaders"),
        ("sort.column", "sort"),
    )
    every: ClassVar[float] = 2.0
    columns: ClassVar[tuple[Column, ...]] = TASK_COLUMNS
    DEFAULT_CSS = """
    Tasks #tasks-box { height: 3fr; }
    Tasks #tasks-lower { height: 2fr; }
    Tasks #votes-box { width: 3fr; }
    Tasks #leaders-box { width: 2fr; }
    .-narrow Tasks #tasks-box { height: 1fr; }
    .-narrow Tasks #tasks-lower { layout: vertical; height: 2fr; }
    .-narrow Tasks #votes-box, .-narrow Tasks #leaders-box { width: 100%; height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """Tasks, votes, leaders."""
        with Vertical(id="tasks-box", classes="titled"):
            yield LineTable(self.layouts(), empty=self.empty, id="tasks")
        with Horizontal(id="tasks-lower"):
            with Vertical(id="votes-box", classes="titled") as box:
                box.border_title = "votes"
                yield LineTable(layouts_of(_VOTE_COLUMNS), empty="nothing is being decided", id="votes")
            with Vertical(id="leaders-box", classes="titled") as box:
                box.border_title = "leaders"
                yield LineTable(layouts_of(LEADER_COLUMNS[:4]), empty="no group has a leader", id="leaders")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self._votes: list[Record] = []
        self._leaders: list[Record] = []
        self._is_by_state = False

    async def load(self, system: System) -> None:
        """All three."""
        from mas_core.ops import consensus, leaders, tasks

        try:
            found = await tasks.list_tasks(system)
            votes = await consensus.votes(system)
            groups = await leaders.groups(system)
        except SecretUnavailable as error:
            # Not at hand now, it will not be at the next look either: said once, where the rows would be.
            self.part("#tasks", LineTable).empty = safe_text(error.message, 300)
            self.due = math.inf
            return
        self.records = [task_row(task) for task in found[::-1]]
        self._leaders = [leader_row(group) for group in groups]
        open_ids = [vote.id for vote in votes if vote.state in ("open", "escalated")][:COUNTED]
        counts = {name: consensus.standing(await consensus.trail(system, name)) for name in open_ids}
        self._votes = [{**vote_row(vote), **counts.get(vote.id, {})} for vote in votes]

    def draw(self) -> None:
        """Show what is known."""
        self.draw_table(self.part("#tasks", LineTable))
        counts = Counter(str(record["status"]) for record in self.records)
        states = [state for state in STATES if counts[state]]
        title = "  ".join(f"{counts[state]} {state}" for state in states)
        self.part("#tasks-box", Vertical).border_title = Text(f"tasks  {title}")
        self.part("#votes", LineTable).show(Rows(self._votes, lambda vote: vote["id"], self._vote_cells))
        self.part("#leaders", LineTable).show(
            Rows(
                self._leaders, lambda group: group["group"], lambda group: cells_of(group, LEADER_COLUMNS[:4])
            )
        )

    def _vote_cells(self, vote: Record) -> list[Cell]:
        weights, needed = vote.get("weights"), vote.get("needed")
        drawn = ""
        if isinstance(weights, dict) and isinstance(needed, (int, float)) and needed > 0:
            leading = max(weights.values(), default=0)
            drawn = f"{bar(leading / needed, BAR, ascii_only=self.dashboard.is_ascii)} {leading:g}/{needed:g}"
        voted = vote["voted"]
        count = len(voted) if isinstance(voted, list) else voted
        return cells_of({**vote, "bar": drawn, "voted": f"{count} of {vote['participants']}"}, _VOTE_COLUMNS)

    def toggle_group(self) -> bool:
        """By state, those first that are to be done; or the newest first."""
        self._is_by_state = not self._is_by_state
        self.draw()
        return True

    def arranged(self, rows: list[Record]) -> list[Record]:
        """By state and agent, where that is wanted."""
        if not self._is_by_state:
            return rows
        places = {state: place for place, state in enumerate(STATES)}
        return sorted(rows, key=lambda row: (places.get(str(row["status"]), 9), str(row["agent"] or "")))

    def actions(self) -> Sequence[Action]:
        """What fits the table that is focused."""
        if self.table is self.part("#votes", LineTable):
            return VOTE_ACTIONS
        if self.table is self.part("#leaders", LineTable):
            return LEADER_ACTIONS
        return TASK_ACTIONS if self.table is not None and self.table.item is not None else TASK_ACTIONS[:1]

    def name_of(self, item: Any) -> str:
        """A task, a vote or a group in words."""
        if "group" in item:
            return str(item["group"])
        return str(item.get("title") or f"{item['id']}  {item['type']}")

    def command_of(self, item: Any) -> tuple[str, ...]:
        """What shows it in full."""
        if "group" in item:
            return ("leader", "status", str(item["group"]))
        return (
            ("consensus", "status", str(item["id"])) if "title" in item else ("task", "get", str(item["id"]))
        )

    def is_problem(self, item: Any) -> bool:
        """What failed, and what waits for somebody to decide."""
        return bool(item.get("status") == "failed" or item.get("state") == "escalated")

    def open(self, item: Any) -> None:
        """To the agent that works on a task, or leads a group."""
        name = item.get("leader") or (item.get("agent") if "status" in item else "")
        if name:
            self.dashboard.go("Agents", str(name))
