"""Rules: who may send to whom, the rules themselves, a message tried out, limits, and breakers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Button, Input, Static, TabbedContent, TabPane

from mas_cli.input.payload import parse_value
from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record
from mas_cli.output.moments import moment
from mas_cli.output.rehearsals import rehearsal_rows, verdict_style
from mas_cli.output.rule_rows import RULE_COLUMNS, rule_row
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell, Layout
from mas_cli.tui.actions import Action
from mas_cli.tui.pane import TablePane, cells_of, layouts_of
from mas_cli.tui.screens.pending_rules import PendingRules, in_words
from mas_cli.tui.screens.rule_actions import LIMITING, RESETTING
from mas_cli.tui.widgets.bars import Bar
from mas_cli.tui.widgets.grid import Grid
from mas_cli.tui.widgets.line_table import LineTable, Rows
from mas_cli.tui.widgets.prose import Prose
from mas_cli.tui.widgets.typed_line import TypedLine
from mas_core.errors import MasError, SecretUnavailable

if TYPE_CHECKING:
    from mas_core.model.policy import PolicyDocument
    from mas_core.ops.breakers import CircuitStatus
    from mas_core.ops.limits import LimitStatus
    from mas_core.ops.rbac_matrix import Reach
    from mas_core.ops.system import System

_SIGNS: dict[Reach, tuple[str, Style | None]] = {
    "all": ("✓", "good"),
    "some": ("~", "warn"),
    "held": ("?", "warn"),
    "denied": ("✗", "bad"),
    "none": ("·", "dim"),
}
_IN_WORDS: dict[Reach, str] = {
    "all": "everything passes",
    "some": "some messages pass",
    "held": "passes once a person approved it",
    "denied": "a rule forbids it",
    "none": "no rule allows it",
}
NO_RULE = "no rule: nothing is allowed\na allows something; in a shell: mas rbac allow operator AGENT"
_LIMIT_COLUMNS = (
    Column("name", style=lambda _: "name"),
    Column("scope"),
    Column("minute"),
    Column("hour"),
    Column("source", flexible=True),
)
_BREAKER_COLUMNS = (
    Column("target", style=lambda _: "name"),
    Column("sender"),
    Column("state", style=lambda _: "bad"),
    Column("failures", kind="number"),
    Column("retry_in", header="retry in", kind="duration"),
    Column("why", flexible=True),
)


class Rules(TablePane):
    """Five tabs."""

    title: ClassVar[str] = "Rules"
    about: ClassVar[str] = "Who may send what to whom, why, and what would become of a message."
    hints: ClassVar[tuple[tuple[str, str], ...]] = (("row.open", "explain"), ("view.next", "next part"))
    every: ClassVar[float] = 3.0
    columns: ClassVar[tuple[Column, ...]] = RULE_COLUMNS
    DEFAULT_CSS = """
    Rules TabbedContent { height: 1fr; }
    Rules TabPane { padding: 0; }
    Rules #try-form { height: auto; padding: 0 1; }
    Rules #try-form Input { width: 1fr; height: 1; border: none; padding: 0; background: $boost; margin-right: 1; }
    Rules #try-form Input:focus { border: none; background: $primary 30%; }
    Rules #try-form Horizontal { height: 1; }
    Rules #try-form Static { width: 8; }
    Rules #reach { height: 3; padding: 0 1; }
    Rules #pending { display: none; background: $warning 30%; }
    """

    def compose(self) -> ComposeResult:
        """What is to change, and the tabs."""
        yield Bar(id="pending")
        with TabbedContent(id="rules-tabs"):
            with TabPane("matrix", id="rules-matrix"):
                yield Grid(id="matrix")
                yield Static(Text(), id="reach")
            with TabPane("rules", id="rules-rules"):
                yield LineTable(self.layouts(), empty=NO_RULE, id="rules")
            with TabPane("try it", id="rules-try"):
                with Vertical(id="try-form"):
                    for name, hint in (
                        ("from", "operator"),
                        ("to", ""),
                        ("type", "message"),
                        ("payload", "{}"),
                    ):
                        with Horizontal():
                            yield Static(Text(name, "bold"))
                            yield TypedLine(hint if name != "to" else "", id=f"try-{name}")
                    yield Button("try", id="try", compact=True)
                yield LineTable(
                    [Layout("STAGE"), Layout("VERDICT"), Layout("RULE"), Layout("REASON", flexible=True)],
                    empty="every stage of the gateway says what it would do; nothing is sent",
                    id="stages",
                )
                yield Prose(id="try-told")
            with TabPane("limits", id="rules-limits"):
                yield LineTable(layouts_of(_LIMIT_COLUMNS), id="limits")
            with TabPane("breakers", id="rules-breakers"):
                yield LineTable(layouts_of(_BREAKER_COLUMNS), empty="every circuit is closed", id="breakers")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self.part("#try-told", Prose).display = False
        self._document: PolicyDocument | None = None
        self._pending = PendingRules()
        self._in_force: dict[tuple[str, str], tuple[Reach, str]] = {}
        self._names: list[str] = []
        self._reach: dict[tuple[str, str], tuple[Reach, str]] = {}
        self._limits: list[Record] = []
        self._breakers: list[Record] = []

    async def load(self, system: System) -> None:
        """The policy, and what is used of it."""
        from mas_core.ops import breakers, limits, rbac

        self.take_policy(await rbac.load(system))
        self._limits = [_limit_row(found) for found in await limits.list_limits(system)]
        self._breakers = [_breaker_row(found) for found in await breakers.list_circuits(system)]

    def take_policy(self, document: PolicyDocument) -> None:
        """Work out what this policy lets through, between the agents that there are."""
        from mas_core.ops import rbac
        from mas_core.ops.rbac_matrix import matrix

        status = self.board.status
        names = sorted(agent.id for agent in status.agents) if status is not None else []
        now = status.now if status is not None else 0
        if document != self._document or names != self._names:
            self._in_force = matrix(document, names, now)
        wanted = self._pending.applied(document)
        self._reach = self._in_force if wanted is document else matrix(wanted, names, now)
        self._document, self._names = document, names
        self.records = [rule_row(rule) for rule in rbac.rules_for(document)]

    def draw(self) -> None:
        """Show what is known."""
        changes = self._pending.changes
        bar = self.part("#pending", Bar)
        bar.display = bool(changes)
        bar.say(
            Text(
                f" {len(changes)} pending, not in force: {safe_text(';  '.join(map(in_words, changes)), 400)}"
            )
        )
        shown = [safe_text(name, 64) for name in self._names]
        self.part("#matrix", Grid).show(shown, shown, self._sign)
        self.draw_table(self.part("#rules", LineTable))
        self.part("#limits", LineTable).show(
            Rows(self._limits, _key, lambda record: cells_of(record, _LIMIT_COLUMNS))
        )
        self.part("#breakers", LineTable).show(
            Rows(self._breakers, _key, lambda record: cells_of(record, _BREAKER_COLUMNS))
        )

    def _sign(self, sender: str, target: str) -> tuple[str, Style | None]:
        pair = (sender, target)
        sign, style = _SIGNS[self._reach.get(pair, ("none", ""))[0]]
        is_pending = self._reach is not self._in_force and self._reach.get(pair) != self._in_force.get(pair)
        return sign, "warn" if is_pending else style

    @on(Grid.Chosen)
    def _say_reach(self, event: Grid.Chosen) -> None:
        reach, rule = self._reach.get((event.row, event.column), ("none", ""))
        text = Text(f"{event.row} → {event.column}: {_IN_WORDS[reach]}")
        text.append(f"  (rule {safe_text(rule, 80)})" if rule else "", "dim")
        text.append("  once what is pending is applied" if self._pending.changes else "", "yellow")
        text.append("\n✓ all  ~ some  ? held  ✗ denied  · no rule", "dim")
        self.part("#reach", Static).update(text)

    @on(Grid.Opened)
    def _explain(self, event: Grid.Opened) -> None:
        self.part("TabbedContent", TabbedContent).active = "rules-try"
        self.part("#try-from", Input).value = event.row
        self.part("#try-to", Input).value = event.column
        self._try()

    @on(Button.Pressed, "#try")
    @on(Input.Submitted)
    def _tried(self) -> None:
        self._try()

    @work(exclusive=True, group="try")
    async def _try(self) -> None:
        from mas_core.ops import messages, rbac

        system = self.dashboard.system
        if system is None:
            return
        sender, target, kind, payload = (
            self.part(f"#try-{name}", Input).value.strip() for name in ("from", "to", "type", "payload")
        )
        stages, told = self.part("#stages", LineTable), self.part("#try-told", Prose)
        told.display = False
        try:
            value = parse_value(payload or "{}")
            found = await messages.rehearse(system, target, kind or "message", value, as_agent=sender)
        except SecretUnavailable:
            # Without the sender's token the access rules alone can be asked.
            await self._try_rules(rbac, system, sender, target, kind or "message")
            return
        except MasError as error:
            self.dashboard.complain(error)
            return
        rows = rehearsal_rows(found)
        stages.show(Rows(rows, lambda row: row["stage"], _stage_cells))

    async def _try_rules(self, rbac: Any, system: System, sender: str, target: str, kind: str) -> None:
        told = self.part("#try-told", Prose)
        try:
            decision = await rbac.check(system, sender, target, kind)
        except MasError as error:
            self.dashboard.complain(error)
            return
        text = Text(
            f"the token of {safe_text(sender, 64)} is not at hand, so only the access rules are asked\n\n",
            "dim",
        )
        text.append(
            f"{decision.outcome}: {safe_text(decision.reason, 400)}\n", "green" if decision.allowed else "red"
        )
        text.append("\n".join(f"$ {safe_text(line, 200)}" for line in decision.fix))
        told.display = True
        told.say(text)
        self.part("#stages", LineTable).show(Rows([], id, _stage_cells))

    def set_filter(self, text: str) -> None:
        """Filter the list of rules."""
        if text:
            self.part("TabbedContent", TabbedContent).active = "rules-rules"
        super().set_filter(text)

    def open(self, item: Any) -> None:
        """A rule: its ends, tried out."""
        if isinstance(item, dict) and "effect" in item:
            self.part("TabbedContent", TabbedContent).active = "rules-try"
            self.part("#try-from", Input).value = str(item["from"])
            self.part("#try-to", Input).value = str(item["to"])

    @property
    def table(self) -> LineTable | None:
        """The table of the tab that is seen."""
        seen = {"rules-rules": "#rules", "rules-limits": "#limits", "rules-breakers": "#breakers"}
        name = seen.get(self.part("TabbedContent", TabbedContent).active)
        return self.part(name, LineTable) if name else None

    def name_of(self, item: Any) -> str:
        """A rule, a limit or a circuit in words."""
        if "change" in item:
            return in_words(item)
        if "id" not in item and "from" in item:
            return f"{item['from']} to {item['to']}"
        if "effect" in item:
            return f"{item['id']}  {item['effect']} {item['from']} to {item['to']} {item['type']}"
        return str(item.get("name") or item.get("target"))

    def actions(self) -> Sequence[Action]:
        """Rules are added from everywhere here; the rest fits the tab."""
        tab = self.part("TabbedContent", TabbedContent).active
        is_on_rule = tab == "rules-rules" and self.table is not None and bool(self.table.item)
        return (
            *self._pending.collecting(is_on_rule=is_on_rule, changed=self.dashboard.reload),
            *(LIMITING if tab == "rules-limits" and self.table is not None and self.table.item else ()),
            *(RESETTING if tab == "rules-breakers" and self.table is not None and self.table.item else ()),
        )

    def command_of(self, item: Any) -> tuple[str, ...]:
        """Why a rule decides as it does; a limit; a circuit."""
        if "effect" in item:
            kind = () if item["type"] == "*" else (str(item["type"]),)
            return ("rbac", "explain", str(item["from"]), str(item["to"]), *kind)
        return ("limit", "get", str(item["name"])) if "name" in item else ("breaker", "list")

    @property
    def home(self) -> Widget | None:
        """The matrix, while it is seen."""
        is_matrix = self.part("TabbedContent", TabbedContent).active in ("", "rules-matrix")
        return self.part("#matrix", Grid) if is_matrix else self.table

    def chosen_items(self) -> list[Any]:
        """In the matrix the two ends of a field."""
        if self.part("TabbedContent", TabbedContent).active in ("", "rules-matrix"):
            pair = self.part("#matrix", Grid).chosen
            return [] if pair is None else [{"from": pair[0], "to": pair[1]}]
        return super().chosen_items()


def _key(record: Record) -> tuple[object, object, object]:
    return record.get("name"), record.get("target"), record.get("sender")


def _stage_cells(row: Record) -> Sequence[Cell]:
    return (
        Cell(safe_text(row["stage"], 40), "name"),
        Cell(safe_text(row["verdict"], 40), verdict_style(row["verdict"])),
        Cell(safe_text(row["rule"] or "-", 60)),
        Cell(safe_text(row["reason"] or "-", 300)),
    )


def _limit_row(found: LimitStatus) -> Record:
    used = {use.window: f"{use.used:,} of {use.limit:,}" for use in found.uses}
    return {
        "name": found.name,
        "scope": found.scope,
        "minute": used.get("minute", f"{found.limit.per_minute:,}"),
        "hour": used.get("hour", f"{found.limit.per_hour:,}"),
        "source": found.source,
    }


def _breaker_row(found: CircuitStatus) -> Record:
    return {
        "target": found.target,
        "sender": found.sender,
        "state": found.state,
        "failures": found.failures,
        "retry_in": found.retry_in,
        "why": found.why,
        "since": moment(found.since),
    }
