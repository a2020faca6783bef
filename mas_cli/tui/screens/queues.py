"""Queues: what waits for each agent, what is in hand, and who is stuck on which message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mas_cli.output.columns import Column, Record, cell
from mas_cli.output.queue_rows import message_row, queue_row
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell, Layout
from mas_cli.tui.actions import Action
from mas_cli.tui.pane import TablePane
from mas_cli.tui.screens.queue_actions import MESSAGE_ACTIONS, QUEUE_ACTIONS
from mas_cli.tui.widgets.line_table import LineTable, Rows

if TYPE_CHECKING:
    from mas_core.ops.queues import Look
    from mas_core.ops.system import System

READ: Final = 200
"""Messages of the chosen queue that are read at most."""
STUCK_S: Final = 60.0
"""In hand for so long, a message is one to look at."""
SHOWN_OF_CONSUMER: Final = 8
"""Characters of an instance's id; `v` shows all."""


class Queues(TablePane):
    """Queues on the left, the messages of the chosen one on the right."""

    title: ClassVar[str] = "Queues"
    about: ClassVar[str] = "What waits for each agent, how fast it moves, and who is stuck on which message."
    empty: ClassVar[str] = "no agent is registered: mas agent register NAME"
    hints: ClassVar[tuple[tuple[str, str], ...]] = (
        ("row.open", "its messages"),
        ("view.next", "queues or messages"),
        ("sort.column", "sort"),
    )
    every: ClassVar[float] = 2.0
    key_field: ClassVar[str] = "agent"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("agent", style=lambda _: "name", whole=True),
        Column("waiting", kind="number"),
        Column("in_hand", header="hand", kind="number"),
        Column("oldest", kind="duration"),
        Column("deliveries", header="dlv", kind="number"),
        Column("consumers", header="cons", kind="number"),
        Column("in_s", header="in/s", kind="number"),
        Column("out_s", header="out/s", kind="number"),
        Column("retries", header="retry", kind="number"),
    )
    DEFAULT_CSS = """
    Queues #queues-box { width: 3fr; }
    Queues #queue-box { width: 2fr; min-width: 50; }
    .-narrow Queues Horizontal { layout: vertical; }
    .-narrow Queues #queues-box { width: 100%; height: 1fr; }
    .-narrow Queues #queue-box { width: 100%; height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """Both tables."""
        with Horizontal():
            with Vertical(id="queues-box", classes="titled"):
                yield LineTable(self.layouts(), empty=self.empty, id="queues")
            with Vertical(id="queue-box", classes="titled"):
                yield LineTable(
                    [
                        Layout("MESSAGE", flexible=True),
                        Layout("AGE", right=True),
                        Layout("IDLE", right=True),
                        Layout("DLV", right=True),
                        Layout("CONSUMER"),
                    ],
                    empty="nothing waits and nothing is in hand",
                    id="queue",
                )

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self._look: Look | None = None
        self._agent = ""
        self._messages: list[Record] = []

    async def load(self, system: System) -> None:
        """Look at all queues, and into the chosen one."""
        from mas_core.ops import queues

        self._look = await queues.look(system, before=self._look)
        found = sorted(self._look.queues.values(), key=lambda queue: (-queue.size, queue.agent_id))
        self.records = [queue_row(queue) for queue in found]
        self._agent = self._chosen_agent() or (found[0].agent_id if found else "")
        if self._agent in self._look.queues:
            messages = await queues.inspect(system, self._agent, most=READ)
            self._messages = [{"agent": self._agent, **message_row(item)} for item in messages]

    def _chosen_agent(self) -> str:
        item = self.part("#queues", LineTable).item
        return str(item["agent"]) if item is not None else ""

    def draw(self) -> None:
        """Show what is known."""
        self.draw_table(self.part("#queues", LineTable))
        self.part("#queues-box", Vertical).border_title = Text(
            f"queues  {self.shown_count} of {len(self.records)}"
        )
        self.part("#queue", LineTable).show(
            Rows(self._messages, lambda item: item["place"] + item["lane"], _message_cells)
        )
        held = sum(item["state"] == "in hand" for item in self._messages)
        title = safe_text(self._agent, 40) + (f"  {held} in hand first" if self._messages else "")
        more = f"  the first {READ}" if len(self._messages) == READ else ""
        self.part("#queue-box", Vertical).border_title = Text(title + more)

    @on(LineTable.Chosen, "#queues")
    def _other(self) -> None:
        if self._chosen_agent() not in ("", self._agent):
            self.dashboard.reload()

    def open(self, item: Any) -> None:
        """A queue: its messages. A message: its trace."""
        if "place" not in item:
            self.part("#queue", LineTable).focus()
        elif item["id"]:
            self.dashboard.go("Trace", str(item["id"]))

    def go_to(self, name: str) -> bool:
        """Choose a queue; a filter that hides it is taken away."""
        table = self.part("#queues", LineTable)
        if not table.choose(name) and self.row_filter:
            self.set_filter("")
        return table.choose(name)

    def name_of(self, item: Any) -> str:
        """What a queue or a message is called."""
        if "place" not in item:
            return str(item["agent"])
        return str(item["id"] or f"{item['lane']} {item['place']}")

    def command_of(self, item: Any) -> tuple[str, ...]:
        """The messages of the queue."""
        return ("bus", "inspect", str(item["agent"]))

    def actions(self) -> Sequence[Action]:
        """What can be done to queues, or to a message."""
        return MESSAGE_ACTIONS if self.table is self.part("#queue", LineTable) else QUEUE_ACTIONS

    def is_problem(self, item: Any) -> bool:
        """What has been in hand for long, was given more than once, or cannot be opened."""
        idle = item.get("idle")
        return bool(
            (idle is not None and idle > STUCK_S) or item.get("deliveries", 0) > 1 or item.get("problem")
        )


def _message_cells(item: Record) -> Sequence[Cell]:
    idle, problem = item["idle"], item["problem"]
    is_late = isinstance(idle, float) and idle > STUCK_S
    count = f"{item['messages']} sealed" if item["messages"] != 1 else "sealed"
    what = item["type"] or f"{count}: {problem}"
    return (
        Cell(safe_text(str(what), 200), "bad" if problem else None),
        Cell(cell(item["age"], "duration")),
        Cell(cell(idle, "duration"), "warn" if is_late else None),
        Cell(str(item["deliveries"] or "-"), "warn" if item["deliveries"] not in (0, 1) else None),
        Cell(
            safe_text(str(item["consumer"] or "waits")[:SHOWN_OF_CONSUMER], 64),
            None if item["consumer"] else "dim",
        ),
    )
