"""Dead letters: groups of what failed alike, the letters of a group, and one with its attempts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mas_cli.input.payload import parse_value
from mas_cli.output.columns import Column, Record
from mas_cli.output.dead_letter_rows import attempt_rows, letter_details, letter_row
from mas_cli.output.safe_text import safe_text
from mas_cli.output.tables import Cell, Layout
from mas_cli.tui.actions import Action, Answers, Question
from mas_cli.tui.pane import TablePane
from mas_cli.tui.widgets.line_table import LineTable, Rows
from mas_cli.tui.widgets.prose import Prose, fields_text, heading
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.dead_letters import Carried
    from mas_core.ops.system import System

READ = 2_000
"""Letters that are read at most; the newest."""
_Group = tuple[str, str, str, int]


class Dead(TablePane):
    """Groups above, letters below, one of them beside."""

    title: ClassVar[str] = "Dead"
    about: ClassVar[str] = "Messages that were given up: why, how often they were tried, and another try."
    empty: ClassVar[str] = "nothing was given up; what fails too often comes here"
    hints: ClassVar[tuple[tuple[str, str], ...]] = (
        ("row.open", "trace"),
        ("view.next", "groups or letters"),
        ("row.mark", "mark"),
    )
    every: ClassVar[float] = 3.0
    columns: ClassVar[tuple[Column, ...]] = (
        Column("id", style=lambda _: "name"),
        Column("agent"),
        Column("from"),
        Column("type"),
        Column("code", style=lambda _: "bad"),
        Column("reason", flexible=True),
        Column("tries", kind="number"),
        Column("age", kind="duration"),
    )
    DEFAULT_CSS = """
    Dead #groups-box { height: 1fr; }
    Dead #dead-lower { height: 2fr; }
    Dead #letters-box { width: 1fr; }
    Dead #letter-box { width: 46; }
    .-narrow Dead #dead-lower { layout: vertical; height: 3fr; }
    .-narrow Dead #letters-box { width: 100%; height: 3fr; }
    .-narrow Dead #letter-box { width: 100%; height: 2fr; }
    .-narrow.-low Dead #dead-lower { height: 12; }
    .-narrow.-low Dead #letters-box { height: 6; }
    .-narrow.-low Dead #letter-box { height: 6; }
    """

    def compose(self) -> ComposeResult:
        """Groups, letters, one letter."""
        with Vertical(id="groups-box", classes="titled") as box:
            box.border_title = "alike"
            yield LineTable(
                [Layout("COUNT", right=True), Layout("CODE"), Layout("TYPE", flexible=True), Layout("AGENT")],
                empty=self.empty,
                id="groups",
            )
        with Horizontal(id="dead-lower"):
            with Vertical(id="letters-box", classes="titled"):
                yield LineTable(self.layouts(), empty=self.empty, id="letters")
            with Vertical(id="letter-box", classes="titled") as box:
                box.border_title = "letter"
                yield Prose(id="letter")

    def on_mount(self) -> None:
        """Nothing is known yet."""
        self._groups: list[_Group] = []
        self._total = 0
        self._details: dict[str, Record] = {}

    async def load(self, system: System) -> None:
        """The letters."""
        from mas_core.ops import dead_letters

        found = await dead_letters.list_letters(system, newest=READ)
        self.records = [letter_row(letter) for letter in found.letters]
        self._details = {
            letter.id: {**letter_details(letter), "attempts": attempt_rows(letter)}
            for letter in found.letters
        }
        self._total = found.total
        counts = Counter((str(row["code"]), str(row["type"]), str(row["agent"])) for row in self.records)
        self._groups = [(*names, count) for names, count in counts.most_common()]

    def draw(self) -> None:
        """Show what is known."""
        self.part("#groups", LineTable).show(Rows(self._groups, lambda group: group[:3], _group_cells))
        self.draw_table(self.part("#letters", LineTable))
        box = self.part("#letters-box", Vertical)
        box.border_title = Text(f"letters  {self.shown_count} of {self._total}")

    @on(LineTable.Chosen, "#letters")
    def _tell(self, event: LineTable.Chosen) -> None:
        text = Text()
        if event.item is not None:
            record = {**event.item, **self._details.get(event.item["id"], {})}
            attempts = record.pop("attempts", [])
            text = fields_text(list(record.items()))
            text.append_text(heading("\nattempts"))
            for attempt in attempts:
                text.append(f"{attempt['number'] or '-'}  {safe_text(attempt['time'])}  ", "dim")
                text.append(f"{safe_text(attempt['code'])}  {safe_text(attempt['reason'], 300)}\n")
        self.part("#letter", Prose).say(text)

    def open(self, item: Any) -> None:
        """A group: its letters only. A letter: its trace."""
        if isinstance(item, tuple):
            self.set_filter(f'code:"{item[0]}" type:"{item[1]}" agent:"{item[2]}"')
            self.part("#letters", LineTable).focus()
        else:
            self.dashboard.go("Trace", str(item["message_id"]))

    def name_of(self, item: Any) -> str:
        """What a group or a letter is called."""
        if isinstance(item, tuple):
            return f"{item[3]} x {item[0]}  {item[1]} to {item[2]}"
        return f"{item['id']}  {item['code']}  {item['type']} to {item['agent']}"

    def command_of(self, item: Any) -> tuple[str, ...]:
        """A letter in full, or those of a group."""
        if isinstance(item, tuple):
            return ("dlq", "list", "--reason", item[0], "--type", item[1], "--agent", item[2])
        return ("dlq", "get", str(item["id"]))

    def record_of(self, item: Any) -> Record:
        """A letter with its attempts; a group with the ids of its letters."""
        if isinstance(item, tuple):
            ids = [row["id"] for row in self.records if (row["code"], row["type"], row["agent"]) == item[:3]]
            return {"code": item[0], "type": item[1], "agent": item[2], "ids": ids}
        return {**item, **self._details.get(item["id"], {})}

    def actions(self) -> Sequence[Action]:
        """What can be done to letters; to a group it is done to all of it."""
        return _ACTIONS


def _group_cells(group: _Group) -> Sequence[Cell]:
    return (
        Cell(f"{group[3]:,}"),
        Cell(safe_text(group[0], 60), "bad"),
        Cell(safe_text(group[1], 100)),
        Cell(safe_text(group[2], 64), "name"),
    )


def _ids(record: Record) -> list[str]:
    ids = record.get("ids")
    return [str(item) for item in ids] if isinstance(ids, list) else [str(record["id"])]


def _told(found: Sequence[Carried], done: str) -> str:
    failed = [item for item in found if item.error is not None]
    if failed and failed[0].error is not None and len(failed) == len(found):
        raise failed[0].error
    more = f"; {len(failed)} stay" if failed else ""
    return f"{len(found) - len(failed)} {done}{more}"


def _rate(answers: Answers) -> float:
    try:
        return float(answers.get("rate") or 0)
    except ValueError:
        raise UsageError("the rate is a number of messages a second") from None


async def _retry(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import dead_letters

    found = await dead_letters.retry(system, _ids(record), note=answers["reason"], rate=_rate(answers))
    return _told(found, "delivered again")


async def _would_retry(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops.dead_letters import look_up

    lines, stay = [], 0
    for name in _ids(record):
        letter, error = await look_up(system, "retry", name)
        stay += error is not None
        facts = letter.facts if letter else None
        what = f"{facts.type} to {facts.target}" if facts else ""
        then = f"stays: {error.message}" if error else f"given up: {facts.reason}" if facts else ""
        lines.append("  ".join(part for part in (name, what, then) if part))
    more = f"; {stay} would stay" if stay else ""
    return "\n".join([f"{len(lines) - stay} would be delivered again{more}", *lines])


async def _edit(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import dead_letters

    data = parse_value(answers["payload"])
    return _told(
        await dead_letters.retry(system, _ids(record), note=answers["reason"], data=data), "delivered"
    )


async def _payload(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops import dead_letters

    return str(await dead_letters.payload(system, _ids(record)[0]))


async def _drop(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops import dead_letters

    found = await dead_letters.drop(system, _ids(record), note=answers["reason"])
    return _told(found, "dropped; for 24 hours mas dlq restore takes it back")


_ACTIONS: tuple[Action, ...] = (
    Action(
        "dead.retry",
        "deliver again",
        "write",
        lambda record, answers: (
            *("dlq", "retry", *_ids(record)),
            *(("--rate", answers["rate"]) if answers.get("rate") else ()),
        ),
        _retry,
        (Question("rate", "at most so many a second (nothing: no bound)", is_required=False),),
    ),
    Action(
        "dead.would",
        "list what would be delivered again",
        "read",
        lambda record, _: ("dlq", "retry", *_ids(record), "--dry-run"),
        _would_retry,
    ),
    Action(
        "dead.edit",
        "edit and deliver",
        "write",
        lambda record, answers: ("dlq", "retry", *_ids(record), "--data", answers.get("payload", "")),
        _edit,
        (Question("payload", "payload (JSON), in place of its own"),),
        lambda record: len(_ids(record)) == 1,
    ),
    Action(
        "dead.payload",
        "show its payload",
        "read",
        lambda record, _: ("dlq", "get", *_ids(record), "--payload"),
        _payload,
        applies=lambda record: len(_ids(record)) == 1,
    ),
    Action("dead.drop", "drop", "destroy", lambda record, _: ("dlq", "drop", *_ids(record)), _drop),
)
