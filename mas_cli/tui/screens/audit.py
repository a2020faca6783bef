"""Audit: what was decided and done, how far it is signed, and a way to take it along."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record, duration
from mas_cli.output.moments import moment
from mas_cli.output.safe_text import safe_text
from mas_cli.tui.actions import Action, Answers, Question
from mas_cli.tui.pane import MAX_ROWS, TablePane
from mas_cli.tui.widgets.bars import Bar
from mas_cli.tui.widgets.line_table import LineTable
from mas_cli.tui.widgets.prose import Prose, json_lines

if TYPE_CHECKING:
    from mas_core.model.audit_record import AuditRecord
    from mas_core.ops.system import System

READ = 20_000
"""Records that are looked through for a filter; further back one goes in time."""
_FIELDS = (
    *("from", "to", "type", "decision", "rule", "kind", "actor", "reason", "id", "finding", "seq", "bytes"),
)


def _coloured(decision: object) -> Style | None:
    if decision in {"allowed", "done", "asked", "", None}:
        return None
    return "warn" if decision in {"alert", "redacted", "begun", "noticed"} else "bad"


class Audit(TablePane):
    """The newest records that fit, and one of them in full."""

    title: ClassVar[str] = "Audit"
    about: ClassVar[str] = "What was decided and what operators did, how far it is signed, and exports of it."
    empty: ClassVar[str] = "no record fits"
    hints: ClassVar[tuple[tuple[str, str], ...]] = (
        ("row.open", "trace"),
        ("time.back", "earlier"),
        ("time.forward", "later"),
    )
    every: ClassVar[float] = 3.0
    key_field: ClassVar[str] = "key"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("seq", kind="number"),
        Column("time", kind="clock"),
        Column("kind"),
        Column("from", style=lambda _: "name"),
        Column("to", style=lambda _: "name"),
        Column("type"),
        Column("decision", style=_coloured),
        Column("rule"),
        Column("reason", flexible=True),
    )
    DEFAULT_CSS = """
    Audit #audit-box { width: 1fr; }
    Audit #record-box { width: 46; }
    .-narrow Audit Horizontal { layout: vertical; }
    .-narrow Audit #audit-box { width: 100%; height: 2fr; }
    .-narrow Audit #record-box { width: 100%; height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """The badge, the records, one record."""
        yield Bar(id="badge")
        with Horizontal():
            with Vertical(id="audit-box", classes="titled"):
                yield LineTable(self.layouts(), empty=self.empty)
            with Vertical(id="record-box", classes="titled") as box:
                box.border_title = "record"
                yield Prose(id="record")

    def on_mount(self) -> None:
        """The newest are shown first."""
        self._until = 0
        self._asked = ""
        self._looked_to = 0
        self._verified = ""
        self._details: dict[object, dict[str, Any]] = {}

    @property
    def fields(self) -> tuple[str, ...]:
        """What records have."""
        return _FIELDS

    async def load(self, system: System) -> None:
        """The newest records that fit, before the time that is looked at."""
        from mas_core.ops import audit
        from mas_core.ops.audit_filter import AuditFilter
        from mas_core.ops.audit_questions import note_question

        question = f"{self.row_filter.text} until={self._until}"
        if question != self._asked:
            # Whoever asks the audit is in the audit; that the screen looks again is no new question.
            await note_question(system, "audit.list", {"filter": self.row_filter.text, "until": self._until})
            self._asked = question
        found: list[Record] = []
        details: dict[object, dict[str, Any]] = {}
        read = 0
        async with aclosing(audit.records(system, AuditFilter(until=self._until))) as records:
            async for item in records:
                read += 1
                self._looked_to = item.record.time
                row = _row(item.partition, item.record)
                if not self.row_filter or self.row_filter.matches(row.get):
                    found.append(row)
                    details[row["key"]] = msgspec.to_builtins(item.record)
                if len(found) >= MAX_ROWS or read >= READ:
                    break
            else:
                self._looked_to = 0
        self.records, self._details = found, details

    def set_filter(self, text: str) -> None:
        """Filter what is read, and read again."""
        super().set_filter(text)
        self.dashboard.reload()

    def move_time(self, seconds: int) -> None:
        """Look at what was before; forward to now."""
        status = self.board.status
        now = status.now if status is not None else 0
        self._until = min((self._until or now) + seconds * 1000, now)
        if self._until >= now:
            self._until = 0
        self.dashboard.reload()

    def draw(self) -> None:
        """Show what was read."""
        table = self.part("LineTable", LineTable)
        self.draw_table(table)
        title = Text("until now" if not self._until else f"until {moment(self._until)}")
        title.append(f"  {self.shown_count:,} records")
        if self._looked_to:
            title.append(f", looked back to {moment(self._looked_to)}", "dim")
        self.part("#audit-box", Vertical).border_title = title
        self.part("#badge", Bar).say(self._badge())

    def _badge(self) -> Text:
        status = self.board.status
        text = Text(" ")
        if status is None:
            return text
        signed = {part.partition: part for notary in status.notaries for part in notary.partitions}
        for partition in status.partitions:
            part = signed.get(partition.partition)
            text.append(f"partition {partition.partition}  ", "bold")
            if part is None:
                text.append("✗ not signed by any notary", "red")
            elif part.problem:
                text.append(f"✗ {safe_text(part.problem, 120)}", "red bold")
            else:
                age = max(0, status.now - part.signed_at) / 1000
                behind = partition.audit_records - part.signed
                text.append(
                    f"✓ signed to #{part.signed:,}, {duration(age)} ago",
                    "green" if behind < 1000 else "yellow",
                )
            text.append("   ")
        text.append(self._verified, "red bold" if "✗" in self._verified else "green")
        return text

    @on(LineTable.Chosen)
    def _tell(self, event: LineTable.Chosen) -> None:
        found = {} if event.item is None else self._details.get(event.item["key"], {})
        shown = {name: value for name, value in found.items() if value not in ("", 0, [], {}, ())}
        self.part("#record", Prose).say(json_lines(shown) if shown else Text())

    def record_of(self, item: Any) -> Record:
        """The whole record."""
        found: Record = self._details.get(item["key"], item)
        return found

    def name_of(self, item: Any) -> str:
        """Its number."""
        return f"#{item['seq']} {item['kind']}"

    def command_of(self, item: Any) -> tuple[str, ...]:
        """The record."""
        return ("audit", "get", f"{item['key'][0]}:{item['seq']}")

    def is_problem(self, item: Any) -> bool:
        """What was not let through or failed."""
        return _coloured(item["decision"]) is not None

    def open(self, item: Any) -> None:
        """To the trace of its message."""
        if item["id"]:
            self.dashboard.go("Trace", str(item["id"]))

    def go_to(self, name: str) -> bool:
        """Find a message or whatever else holds these words."""
        self.set_filter(name)
        return True

    def actions(self) -> Sequence[Action]:
        """Verify and export what is shown."""
        return (
            Action("audit.verify", "verify all", "read", lambda *_: ("audit", "verify"), self._verify),
            Action(
                "audit.export",
                "export all of it",
                "write",
                lambda _, answers: (
                    *("audit", "export", "--format", answers.get("format", "")),
                    *("--out", answers.get("file", "")),
                ),
                _export,
                (
                    Question("format", "format: csv, json or jsonl", lambda _: "jsonl"),
                    Question("file", "file", lambda _: str(Path.cwd() / "audit.jsonl")),
                ),
            ),
        )

    async def _verify(self, system: System, record: Record, answers: Answers) -> str:  # noqa: ARG002 - one signature for all
        from mas_core.ops import audit

        found = await audit.verify(system)
        bad = [item for item in found if not item.result.ok]
        if bad:
            worst = bad[0]
            self._verified = f"✗ #{worst.result.first_bad}: {safe_text(worst.result.problem, 200)}"
            return self._verified
        newest = max((item.result.verified_to for item in found), default=0)
        self._verified = f"✓ verified to #{newest:,}"
        return f"every chain holds, {newest:,} records"


def _row(partition: int, record: AuditRecord) -> dict[str, Any]:
    return {
        "key": (partition, record.seq),
        "seq": record.seq,
        "time": moment(record.time),
        "kind": record.kind,
        "from": record.sender or record.actor or str(record.details.get("claimed_sender", "")),
        "to": record.target,
        "type": record.type or str(record.details.get("action", "")),
        "decision": record.decision,
        "rule": record.rule,
        "reason": record.reason,
        "actor": "human" if record.actor else "",
        "id": record.message_id,
        "finding": [finding.rule for finding in record.findings],
        "bytes": record.size,
    }


async def _export(system: System, record: Record, answers: Answers) -> str:  # noqa: ARG001 - one signature for all
    from mas_core.ops.audit_exports import ExportRequest
    from mas_core.ops.audit_files import export_to_file
    from mas_core.ops.audit_questions import note_question

    await note_question(system, "audit.export", {"format": answers["format"], "file": answers["file"]})
    done = await export_to_file(system, ExportRequest(format_name=answers["format"]), _path(answers["file"]))
    return f"{done.result.rows:,} rows in {done.path}, with {done.manifest}"


def _path(text: str) -> Path:
    return Path(text).expanduser()
