"""Agents: who there is, and all about the chosen one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import TabbedContent, TabPane

from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.moments import moment
from mas_cli.output.rule_rows import rule_row
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell
from mas_cli.tui.actions import Action
from mas_cli.tui.pane import TablePane
from mas_cli.tui.screens.agent_actions import AGENT_ACTIONS
from mas_cli.tui.widgets.bars import bar, fitted_text
from mas_cli.tui.widgets.line_table import LineTable
from mas_cli.tui.widgets.prose import Prose, fields_text, heading, json_lines
from mas_core.errors import MasError

if TYPE_CHECKING:
    from mas_core.ops.agents import AgentSummary
    from mas_core.ops.limits import LimitStatus
    from mas_core.ops.system import System
    from mas_core.settings.project import Project

NO_CAPABILITY = "no capability"
GONE_S = 600.0
"""How long an agent that is gone stays in sight."""


def _coloured(status: object) -> Style | None:
    return {"running": "good", "stopped": "dim", "gone": "dim"}.get(str(status), "warn")  # type: ignore[return-value]


class Agents(TablePane):
    """The table and the tabs of one agent."""

    title: ClassVar[str] = "Agents"
    about: ClassVar[str] = "Who is registered and runs; what the chosen one does, may do, and remembers."
    empty: ClassVar[str] = "no agent is registered: mas agent register NAME"
    hints: ClassVar[tuple[tuple[str, str], ...]] = (
        ("row.open", "its messages"),
        ("sort.column", "sort"),
        ("view.group", "by capability"),
    )
    every: ClassVar[float] = 2.0
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", style=lambda _: "name", whole=True),
        Column("status", style=_coloured),
        Column("capabilities", flexible=True),
        Column("instances", header="inst", kind="number"),
        Column("load", kind="number"),
        Column("backlog", header="wait", kind="number"),
        Column("last_seen", header="seen", kind="age"),
        Column("refused", header="ref/m", kind="number"),
        Column("version"),
    )
    DEFAULT_CSS = """
    Agents #agents-box { width: 3fr; }
    Agents TabbedContent { width: 2fr; min-width: 46; height: 1fr; }
    Agents TabPane { padding: 0 1; }
    .-narrow Agents > Horizontal { layout: vertical; }
    .-narrow Agents #agents-box { width: 100%; height: 1fr; }
    .-narrow Agents TabbedContent { width: 100%; height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """The table and the tabs."""
        with Horizontal():
            with Vertical(id="agents-box", classes="titled"):
                yield LineTable(self.layouts(), empty=self.empty)
            with TabbedContent():
                for name in ("now", "state", "rules", "limits", "metadata", "spec"):
                    with TabPane(name, id=f"agent-{name}"):
                        yield Prose(id=f"agent-{name}-text")

    def on_mount(self) -> None:
        """Nobody is known yet."""
        self._seen: dict[str, tuple[float, Record]] = {}
        self._told: dict[str, Text] = {}
        self._is_grouped = False
        # There is seldom room for it; view.columns shows it.
        self.part("LineTable", LineTable).hidden = {len(self.columns) - 1}

    def draw(self) -> None:
        """Show who is there, and for a while who was."""
        status = self.board.status
        now = time.monotonic()
        if status is not None:
            refused = self.board.live.refused_lately(status.now)
            for agent in status.agents:
                self._seen[agent.id] = (now, _record(agent, refused[agent.id]))
            there = {agent.id for agent in status.agents}
            self._seen = {
                name: (when, record if name in there else {**record, "status": "gone"})
                for name, (when, record) in self._seen.items()
                if now - when < GONE_S
            }
        self.records = [
            record for _, record in sorted(self._seen.values(), key=lambda item: str(item[1]["id"]))
        ]
        table = self.part("LineTable", LineTable)
        self.draw_table(table)
        self.part("#agents-box", Vertical).border_title = Text(
            f"agents  {self.shown_count} of {len(self.records)}"
        )
        for name, text in self._told.items():
            self.part(f"#agent-{name}-text", Prose).say(text)

    @on(LineTable.Chosen)
    def _chosen(self) -> None:
        self.dashboard.reload()

    async def load(self, system: System) -> None:
        """What the tabs tell of the chosen one."""
        from mas_core.ops import agents, limits, state

        item = self.part("LineTable", LineTable).item
        if item is None or ("group" in item and "id" not in item):
            return
        name = str(item["id"])
        if item["status"] == "gone":
            self._told = {"now": Text("it is not registered any more\n", "yellow")}
            return
        found = await agents.describe(system, name)
        self._told = {
            "now": self._now(name, found),
            "rules": _rules(found.rules_from, found.rules_to),
            "metadata": json_lines(
                {"metadata": found.summary.metadata, "capabilities": list(found.summary.capabilities)}
            ),
            "limits": _limits(await limits.get_limit(system, name), ascii_only=self.dashboard.is_ascii),
        }
        self._told["spec"] = await asyncio.to_thread(_spec, system.target.project, name)
        if not system.access.may("open"):
            self._told["state"] = Text(f"the role {system.access.role} does not show states", "yellow")
            return
        known = await state.get(system, name)
        self._told["state"] = heading(f"revision {known.revision}") + json_lines(known.value)

    def _now(self, name: str, found: Any) -> Text:
        from msgspec import to_builtins

        text = fields_text(
            [
                ("status", found.summary.status),
                ("waiting", found.summary.backlog),
                ("in hand", found.summary.load),
                ("partition", found.partition),
                ("because", found.summary.standing.reason if found.summary.standing else ""),
            ]
        )
        for instance in found.entry.instances:
            facts: Mapping[str, object] = to_builtins(instance)
            text.append(f"\ninstance {safe_text(facts.get('instance', ''))}\n", "bold")
            text.append(f"  host {safe_text(facts.get('host', ''), 60)}  pid {facts.get('pid', '')}\n")
        lately = [event for _, event in self.board.live.events if name in (event.sender, event.target)][-20:]
        if lately:
            text.append("\nlast messages\n", "bold")
        for event in reversed(lately):
            way = f"→ {event.target}" if event.sender == name else f"← {event.sender}"
            text.append(f"  {fitted_text(way, 14):14} {fitted_text(event.type, 16):16} ")
            text.append(f"{safe_text(event.decision, 20)}\n", "" if event.decision == "allowed" else "yellow")
        return text

    def command_of(self, item: Any) -> tuple[str, ...]:
        """All about it."""
        return ("agent", "describe", str(item["id"])) if "id" in item else ("agent", "list")

    def toggle_group(self) -> bool:
        """Under each capability who has it, or one list again."""
        self._is_grouped = not self._is_grouped
        self.draw()
        return True

    def arranged(self, rows: list[Record]) -> list[Record]:
        """By capability, each with a head that counts; who has several stands below each."""
        if not self._is_grouped:
            return rows
        groups: dict[str, list[Record]] = {}
        for row in rows:
            names: Any = row["capabilities"] or [NO_CAPABILITY]
            for name in names:
                groups.setdefault(str(name), []).append({**row, "group": str(name)})
        found: list[Record] = []
        for name in sorted(groups, key=lambda name: (name == NO_CAPABILITY, name)):
            found += [{"group": name, "count": len(groups[name])}, *groups[name]]
        return found

    def key_of(self, record: Record) -> Hashable:
        """Its group and its id."""
        return (record["group"], record.get("id")) if self._is_grouped else str(record["id"])

    def cells(self, record: Record) -> list[Cell]:
        """An agent, or the head of a group."""
        if "id" not in record:
            head = Cell(f"{safe_text(record['group'], 60)}  {record['count']}", "bold")
            return [head, *(Cell("") for _ in self.columns[1:])]
        return super().cells(record)

    def chosen_items(self) -> list[Any]:
        """Agents; nothing can be done to the head of a group."""
        return [item for item in super().chosen_items() if "id" in item]

    def go_to(self, name: str) -> bool:
        """Choose an agent, even where a filter or a group hides it."""
        self._is_grouped = False
        self.draw()
        return super().go_to(name)

    def actions(self) -> Sequence[Action]:
        """What can be done to agents."""
        return AGENT_ACTIONS

    def open(self, item: Any) -> None:
        """To its messages."""
        if "id" not in item:
            return
        self.dashboard.go("Live")
        self.dashboard.pane.set_filter(f"agent:{item['id']}")

    def is_problem(self, item: Any) -> bool:
        """Whoever does not run."""
        return "id" in item and bool(item["status"] != "running")


def _record(agent: AgentSummary, refused: int) -> Record:
    return {
        "id": agent.id,
        "status": agent.status,
        "capabilities": list(agent.capabilities),
        "instances": agent.instances,
        "load": agent.load,
        "backlog": agent.backlog,
        "last_seen": moment(agent.last_seen) if agent.last_seen else None,
        "refused": refused,
        "version": str(agent.metadata.get("version", "")),
    }


def _spec(project: Project | None, name: str) -> Text:
    """The YAML that an agent came from."""
    from mas_core.settings.project_config import load_config

    if project is None:
        return Text("no project is at hand, and specs are files of a project\n", "dim")
    try:
        found = [spec for spec in load_config(project).specs() if spec.agent_id == name]
        path = found[0].source if found else None
        if path is None:
            return Text(f"no spec names it; mas agent new {safe_text(name, 64)} writes one\n", "dim")
        lines = path.read_text(errors="replace").splitlines()
    except (MasError, OSError) as error:
        return Text(safe_text(error, 400), "yellow")
    return heading(safe_text(path, 200)) + Text(
        "\n".join(safe_text(line, 400) for line in lines), no_wrap=True
    )


def _rules(rules_from: Sequence[Any], rules_to: Sequence[Any]) -> Text:
    text = Text(no_wrap=True)
    for title, rules in (("may send", rules_from), ("may be sent", rules_to)):
        text.append(f"{title}\n", "bold")
        for rule in rules:
            row = rule_row(rule)
            words = " ".join(
                safe_text(row.get(name) or "*", 40) for name in ("id", "effect", "from", "to", "type")
            )
            text.append(f"  {words}\n", "red" if row.get("effect") == "deny" else "")
        if not rules:
            text.append("  nothing: no rule speaks of it\n", "dim")
    return text


def _limits(found: Sequence[LimitStatus], *, ascii_only: bool = False) -> Text:
    text = Text()
    for one in found:
        text.append(f"{safe_text(one.name, 60)}", "bold")
        text.append(f"  {safe_text(one.scope, 30)}  from {safe_text(one.source, 60)}\n", "dim")
        for use in one.uses:
            share = use.used / use.limit if use.limit > 0 else 0.0
            style = "red" if share >= 1 else "yellow" if share > 0.8 else "green"
            text.append(f"  {safe_text(use.window, 30):8} {use.used:>10,} of {use.limit:<10,}  ")
            text.append(f"{bar(share, 20, ascii_only=ascii_only)}\n", style)
    return text
