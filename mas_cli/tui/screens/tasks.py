"""Tasks and votes: who does what, what is being decided, and who leads which group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
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
NOBODY: Final = "nobody yet"
"""Has the tasks that no agent has begun and that are for no one."""
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
        ("view.group", "by agent"),
        ("view.next", "tasks, votes, leaders"),
        ("sort.column", "sort"),
    )
    every: ClassVar[float] = 2.0
    columns: ClassVar[tuple[Column, ...]] = tuple(
        column._replace(header="%") if column.key == "progress" else column for column in TASK_COLUMNS
    )
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
                yield LineTable(layouts_of(LEADER_COLUMNS[:5]), empty="no group has a leader", id="leaders")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self._votes: list[Record] = []
        self._leaders: list[Record] = []
        self._is_by_agent = False

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
        self.part("#tasks-box", Vertical).border_title = Text("  ".join(["tasks", *_counted(self.records)]))
        self.part("#votes", LineTable).show(Rows(self._votes, lambda vote: vote["id"], self._vote_cells))
        self.part("#leaders", LineTable).show(
            Rows(
                self._leaders, lambda group: group["group"], lambda group: cells_of(group, LEADER_COLUMNS[:5])
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
        """By agent, each with how many tasks stand how; or the newest first."""
        self._is_by_agent = not self._is_by_agent
        self.draw()
        return True

    def arranged(self, rows: list[Record]) -> list[Record]:
        """By agent, those with most to do first, and by state; each agent with a head that counts."""
        if not self._is_by_agent:
            return rows
        groups: dict[str, list[Record]] = {}
        for row in rows:
            groups.setdefault(str(row["agent"] or NOBODY), []).append(row)
        found: list[Record] = []
        for name in sorted(groups, key=lambda name: (-_open_count(groups[name]), name)):
            own = sorted(groups[name], key=lambda row: STATES.index(str(row["status"])))
            found += [{"board": name, "counts": _counted(own)}, *own]
        return found

    def key_of(self, record: Record) -> Hashable:
        """The id of a task, or what tells the head of an agent from that."""
        return ("board", record["board"]) if "board" in record else super().key_of(record)

    def cells(self, record: Record) -> list[Cell]:
        """A task, or the head of an agent."""
        if "board" not in record:
            return super().cells(record)
        # From the state on there are columns that are never cut.
        counts: Any = record["counts"]
        texts = [safe_text(record["board"], 64), "", "", *counts, *("" for _ in STATES)]
        return [Cell(text, "bold") for text in texts[: len(self.columns)]]

    def chosen_items(self) -> list[Any]:
        """Tasks, votes or groups; nothing can be done to the head of an agent."""
        return [item for item in super().chosen_items() if "board" not in item]

    def actions(self) -> Sequence[Action]:
        """What fits the table that is focused."""
        if self.table is self.part("#votes", LineTable):
            return VOTE_ACTIONS
        if self.table is self.part("#leaders", LineTable):
            return LEADER_ACTIONS
        return TASK_ACTIONS if self.chosen_items() else TASK_ACTIONS[:1]

    def name_of(self, item: Any) -> str:
        """A task, a vote or a group in words."""
        if "group" in item or "board" in item:
            return str(item.get("group") or item["board"])
        return str(item.get("title") or f"{item['id']}  {item['type']}")

    def command_of(self, item: Any) -> tuple[str, ...]:
        """What shows it in full."""
        if "board" in item:
            return ("task", "list", *(() if item["board"] == NOBODY else ("--agent", str(item["board"]))))
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
        name = item.get("leader") or item.get("board") or (item.get("agent") if "status" in item else "")
        if name and name != NOBODY:
            self.dashboard.go("Agents", str(name))


def _counted(tasks: Sequence[Record]) -> list[str]:
    """How many of these stand how."""
    counts = Counter(str(record["status"]) for record in tasks)
    return [f"{counts[state]} {state}" for state in STATES if counts[state]]


def _open_count(tasks: Sequence[Record]) -> int:
    return sum(record["status"] in STATES[:2] for record in tasks)
