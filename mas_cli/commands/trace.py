"""`mas trace`: the whole story of one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mas_cli.connection import open_system
from mas_cli.invocation import Invocation
from mas_cli.output.columns import Column, Record
from mas_cli.output.exit_codes import ExitCode
from mas_cli.output.formats import Format
from mas_cli.output.payload_cells import PayloadWay, checked_way, payload_fields, payload_text
from mas_cli.output.safe_text import safe_text
from mas_cli.output.stage_bars import one_trace_lines
from mas_cli.output.tables import Cell
from mas_cli.output.trace_lines import hop_record, painted, tree_lines, waterfall_lines

if TYPE_CHECKING:
    from mas_core.ops.payload_views import PayloadView

_FLAT = (
    Column("began", kind="time"),
    Column("from"),
    Column("to"),
    Column("type", flexible=True),
    Column("status"),
    Column("seconds", kind="duration"),
    Column("rule"),
    Column("reason", flexible=True),
    Column("id"),
)
PLAIN_WIDTH = 100
"""Columns of a waterfall that goes to a file."""


async def trace(
    call: Invocation,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of a message, or of a reply to it.")],
    *,
    flat: Annotated[
        bool, typer.Option("--flat", help="One line for each message instead of a tree.")
    ] = False,
    payload: PayloadWay = "none",
) -> ExitCode:
    """Show what became of a message: decisions, attempts, replies, and what its handler sent.

    All of it comes from the audit, so that it can be proved with mas audit prove. A handler that answers nothing
    leaves no record of having ended. Stage times are those of the messages that were judged together. --payload
    needs copies that audit.payloads of the policy had kept, and their keys.
    """
    checked_way(payload)
    async with open_system(call) as system:
        from mas_core.ops import trace as traces

        found = await traces.trace(system, identifier, warn=call.talk.warn)
        record = hop_record(found)
        told: dict[str, str] = {}
        if payload != "none":
            from mas_core.ops.payload_views import PayloadView

            record = await _with_payloads(await PayloadView.of(system), record, payload, told)
    if flat:
        call.out.records(_FLAT, list(_flattened(record)))
    elif call.out.format is Format.TABLE and call.out.options.columns is None:
        width = call.out.options.width or PLAIN_WIDTH
        payloads = [
            (Cell(f"payload of {safe_text(name, 64)}  ", "dim"), Cell(safe_text(text)))
            for name, text in told.items()
        ]
        bars = ((), *one_trace_lines(found.stages_us, width)) if found.stages_us else ()
        for line in (*tree_lines(found), *payloads, (), *waterfall_lines(found, width), *bars):
            call.out.write(painted(line, call.out.options.palette) + "\n")
    else:
        call.out.record(_FLAT, record)
    call.talk.count(
        f"its records: mas audit get {identifier}; all of them: mas audit export --out audit.jsonl"
    )
    return ExitCode.OK


async def _with_payloads(view: PayloadView, record: Record, way: str, told: dict[str, str]) -> Record:
    """A record and those below it with their payloads, whose texts `told` gets by id."""
    shown = await view.look(f"{record['partition']}:{record['seq']}", str(record["type"]))
    told[str(record["id"])] = payload_text(shown, way)
    below: dict[str, object] = {}
    for name in ("replies", "children"):
        inner = record[name]
        others = inner if isinstance(inner, list) else []
        below[name] = [await _with_payloads(view, other, way, told) for other in others]
    return {**record, **payload_fields(shown, way, as_text=False), **below}


def _flattened(record: Record) -> list[Record]:
    found = [record]
    for name in ("replies", "children"):
        inner = record[name]
        for other in inner if isinstance(inner, list) else ():
            found += _flattened(other)
    return sorted(found, key=lambda item: str(item["began"]))
