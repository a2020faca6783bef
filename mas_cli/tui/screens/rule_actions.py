"""What can be done to limits and circuits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.output.columns import Record
from mas_cli.tui.actions import Action, Answers, Question
from mas_core.errors import UsageError

if TYPE_CHECKING:
    from mas_core.ops.system import System


def limiting(action_id: str, label: str, name_field: str, default: str = "") -> Action:
    """Setting the limit of what a row names.

    Args:
        action_id: What the action is known by, such as `limit.set`.
        label: What the action is called.
        name_field: Where the record has the name.
        default: Messages a minute to begin with.
    """

    async def run(system: System, record: Record, answers: Answers) -> str:
        from mas_core.ops.limits import change_limit

        name, per_minute = str(record[name_field]), answers["per_minute"]
        if not per_minute.isdecimal():
            raise UsageError("messages a minute are a whole number")
        await change_limit(system, name, per_minute=int(per_minute))
        return f"{name} may send {per_minute} a minute"

    def words(record: Record, answers: Answers) -> tuple[str, ...]:
        return ("limit", "set", str(record[name_field]), "--per-minute", answers.get("per_minute", ""))

    question = Question("per_minute", "messages a minute", lambda _: default)
    return Action(action_id, label, "write", words, run, (question,))


async def _reset(system: System, record: Record, answers: Answers) -> str:
    from mas_core.ops.breakers import reset_circuits

    await reset_circuits(system, str(record["target"]), reason=answers["reason"])
    return f"the circuit of {record['target']} is closed"


LIMITING = (limiting("limit.set", "set", "name"),)
RESETTING = (
    Action(
        "breaker.reset",
        "close",
        "write",
        lambda record, _: ("breaker", "reset", str(record["target"])),
        _reset,
    ),
)
