"""Dead letters, their attempts and what became of orders, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.output.columns import Column, Record
from mas_cli.output.moments import moment
from mas_core.errors import MasError

if TYPE_CHECKING:
    from mas_core.ops.dead_letters import Act, Carried, DeadLetter

LETTER_COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("agent"),
    Column("from"),
    Column("type"),
    Column("code"),
    Column("reason", flexible=True),
    Column("tries", kind="number"),
    Column("age", kind="duration"),
)
ENDS = Column("ends_in", header="ends in", kind="duration")
ATTEMPT_COLUMNS = (
    Column("number", header="try", kind="number"),
    Column("time", kind="time"),
    Column("code"),
    Column("reason", flexible=True),
    Column("instance"),
)
CARRIED_COLUMNS = (
    Column("id"),
    Column("agent"),
    Column("type"),
    Column("result"),
    Column("reason", flexible=True),
    Column("error.message", header="error", flexible=True),
)
GROUP_COLUMNS = (
    Column("count", kind="number"),
    Column("code"),
    Column("type"),
    Column("agent"),
    Column("newest", kind="age"),
    Column("oldest", kind="age"),
)

DONE = {"retry": "delivered", "drop": "dropped", "restore": "restored"}


def letter_row(letter: DeadLetter) -> Record:
    """What a list says of a dead letter."""
    facts = letter.facts
    return {
        "id": letter.id,
        "agent": facts.target,
        "from": facts.sender,
        "type": facts.type,
        "code": facts.code,
        "reason": facts.reason.removeprefix(f"{facts.code}: "),
        "tries": facts.attempts,
        "age": letter.age,
        "ends_in": letter.ends_in,
        "message_id": facts.message_id,
        "dead_at": moment(facts.dead_at),
    }


def letter_details(letter: DeadLetter) -> Record:
    """What is said beyond that of a single one."""
    facts = letter.facts
    return {
        "accepted_at": moment(facts.accepted_at),
        "size": facts.size,
        "priority": facts.priority,
        "expects_reply": facts.expects_reply,
        "encrypted": facts.is_encrypted,
        "audit_seq": facts.seq,
        "attempts": attempt_rows(letter),
    }


def attempt_rows(letter: DeadLetter) -> list[Record]:
    """The attempts to have it handled, the oldest first."""
    return [
        {
            "number": attempt.number or None,
            "time": moment(attempt.at),
            "code": attempt.code,
            "reason": attempt.reason,
            "instance": attempt.instance or None,
        }
        for attempt in letter.facts.history
    ]


def carried_row(carried: Carried) -> Record:
    """What became of an order."""
    facts, outcome, error = carried.facts, carried.outcome, carried.error
    if error is None:
        result = DONE[carried.act]
    elif outcome is not None:
        result = "stays"
    else:
        result = "ordered" if error.code == "gateway_down" else "failed"
    return {
        "id": carried.id,
        "agent": facts.target if facts else None,
        "type": facts.type if facts else None,
        "message_id": facts.message_id if facts else None,
        "result": result,
        "reason": (outcome.reason or None) if outcome else None,
        "error": None if error is None else _error(error),
    }


def would_row(name: str, act: Act, letter: DeadLetter | None, error: MasError | None) -> Record:
    """What would become of an order."""
    facts = letter.facts if letter else None
    return {
        "id": letter.id if letter else name,
        "agent": facts.target if facts else None,
        "type": facts.type if facts else None,
        "result": "failed" if error else f"would {act}",
        "reason": facts.reason if facts else None,
        "error": None if error is None else _error(error),
    }


def _error(error: MasError) -> Record:
    return {"code": error.code, "message": error.message}
