"""Boards and screens that hold given texts in every field, with no system behind them."""

from __future__ import annotations

from typing import Any

import msgspec
from support.filled import filled

from mas_cli.output.coordination_rows import leader_row, task_row, vote_row
from mas_cli.output.dead_letter_rows import attempt_rows, letter_details, letter_row
from mas_cli.output.queue_rows import message_row, queue_row
from mas_cli.output.rule_rows import rule_row
from mas_cli.tui.app import Dashboard
from mas_cli.tui.board import Board
from mas_cli.tui.screens import agents, audit, rules
from mas_cli.tui.widgets.line_table import LineTable, Rows
from mas_cli.tui.widgets.prose import json_lines
from mas_core.model.audit_record import AuditRecord
from mas_core.model.message import Delivery
from mas_core.model.policy import Rule
from mas_core.ops.agents import AgentDescription
from mas_core.ops.breakers import CircuitStatus
from mas_core.ops.consensus import VoteRow
from mas_core.ops.dead_letters import DeadLetter
from mas_core.ops.leaders import Group
from mas_core.ops.limits import LimitStatus
from mas_core.ops.queues import Queue, QueuedMessage
from mas_core.ops.status import SystemStatus
from mas_core.ops.tasks import Task
from mas_core.ops.trace import Hop
from mas_core.ops.watch import LiveEvent
from mas_core.settings.target import Target

NOW = 1_790_000_000
"""Seconds of the clock that these boards show."""


def board(text: str, *, events: int = 3, **target: Any) -> Board:
    """A board on which every text is `text`."""
    made = Board(Target(url="unix://none", name=text, **target), read_only=True)
    made.status = filled(SystemStatus, text, now=NOW * 1000, profile="durable")
    for number in range(events):
        made.live.add(filled(LiveEvent, text, time=NOW * 1000 + number), now=NOW)
    made.live.advance(NOW + 1)
    made.commands.append(text)
    return made


def _fill_agents(pane: Any, text: str) -> None:
    found = filled(AgentDescription, text)
    pane._told = {
        "now": pane._now(text, found),
        "rules": agents._rules(found.rules_from, found.rules_to),
        "limits": agents._limits([filled(LimitStatus, text)]),
        "metadata": json_lines({"metadata": found.summary.metadata}),
        "state": json_lines({text: [text]}),
        "spec": json_lines({text: text}),
    }


def _fill_dead(pane: Any, text: str) -> None:
    letter = filled(DeadLetter, text)
    pane.records = [letter_row(letter)]
    pane._details = {letter.id: {**letter_details(letter), "attempts": attempt_rows(letter)}}
    pane._groups = [(text, text, text, 1)]


def _fill_queues(pane: Any, text: str) -> None:
    pane.records = [queue_row(filled(Queue, text))]
    pane._agent = text
    message = filled(QueuedMessage, text, message=filled(Delivery, text))
    pane._messages = [{"agent": text, **message_row(message)}]


def _fill_rules(pane: Any, text: str) -> None:
    pane._names = [text]
    pane._reach = {(text, text): ("some", text)}
    pane.records = [rule_row(filled(Rule, text))]
    pane._pending.changes = [{"change": "allow", "from": text, "to": text, "type": text}]
    pane._limits = [rules._limit_row(filled(LimitStatus, text))]
    pane._breakers = [rules._breaker_row(filled(CircuitStatus, text))]
    stage = {"stage": text, "verdict": text, "rule": text, "reason": text}
    pane.part("#stages", LineTable).show(Rows([stage], id, rules._stage_cells))


def _fill_audit(pane: Any, text: str) -> None:
    record = filled(AuditRecord, text)
    row = audit._row(0, record)
    pane.records, pane._details = [row], {row["key"]: msgspec.to_builtins(record)}
    pane._verified = "✓"


def _fill_tasks(pane: Any, text: str) -> None:
    pane.records = [task_row(filled(Task, text, created=0))]
    pane._votes = [{**vote_row(filled(VoteRow, text)), "weights": {text: 2}, "needed": 4}]
    pane._leaders = [leader_row(filled(Group, text, since=0))]


def _fill_trace(pane: Any, text: str) -> None:
    pane.go_to(text)
    pane._hop = filled(Hop, text)


def _nothing(pane: Any, text: str) -> None:
    """The board alone fills it."""


FILL = {
    "Overview": _nothing,
    "Live": _nothing,
    "Agents": _fill_agents,
    "Queues": _fill_queues,
    "Dead": _fill_dead,
    "Rules": _fill_rules,
    "Audit": _fill_audit,
    "Tasks": _fill_tasks,
    "Trace": _fill_trace,
}
"""How each screen gets what it would load from a system."""


def fill(app: Dashboard, text: str) -> None:
    """Put `text` into every field of the screen that is seen, and draw it."""
    pane = app.pane
    FILL[pane.title](pane, text)
    app.mark_dirty()
    app.draw()
