"""What became of messages that were sent, as rows, and how many of a batch failed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from mas_cli.errors import PartlyFailed
from mas_cli.output.columns import Column, Record
from mas_cli.output.formats import Format
from mas_cli.output.moments import moment
from mas_core.errors import MasError, Unreachable

if TYPE_CHECKING:
    from mas_cli.invocation import Invocation
    from mas_core.model.decision import Receipt
    from mas_core.ops.messages import Outcome

SENT_COLUMNS = (Column("id"), Column("target"), Column("decision"))
SENT_MANY_COLUMNS = (*SENT_COLUMNS, Column("error.message", header="error", flexible=True))


class Tally:
    """Counts the outcomes of a batch on their way to the output."""

    def __init__(self, call: Invocation, target: str, message_type: str) -> None:
        self._call = call
        self._target = target
        self._type = message_type
        self._total = 0
        self._failed = 0
        self._fatal: Unreachable | None = None

    async def rows(
        self, outcomes: AsyncIterator[Outcome], told: Callable[[int], None] = lambda _: None
    ) -> AsyncIterator[Record]:
        """A row for each outcome, until nothing can be reached any more; `told` is told how many there are."""
        # a line that is written over would be in the way of rows that appear one by one
        shows = not self._call.out.is_terminal or self._call.out.format in {
            Format.TABLE,
            Format.JSON,
            Format.YAML,
        }
        async for outcome in outcomes:
            self._total += 1
            if shows:
                told(self._total)
            if outcome.receipt is not None:
                yield {**sent_row(outcome.receipt, outcome.target or self._target, self._type), "error": None}
                continue
            if outcome.error is None:
                continue
            self._failed += 1
            if self._call.out.format is Format.NAME:
                self._call.talk.warn(outcome.error.message)
            else:
                yield _failed(outcome.error, outcome.target or self._target, self._type)
            if isinstance(outcome.error, Unreachable):
                # the others would only wait in vain, one after the other
                self._fatal = outcome.error
                return

    def conclude(self) -> None:
        """Say how many were sent.

        Raises:
            PartlyFailed: Not all of them.
            Unreachable: Nothing could be reached any more.
        """
        if self._fatal is not None:
            raise self._fatal
        if self._failed:
            raise PartlyFailed(
                f"{self._failed} of {self._total} messages were not sent",
                failed=self._failed,
                sent=self._total - self._failed,
            )
        self._call.talk.count(f"{self._total} messages sent")


def sent_row(receipt: Receipt, target: str, message_type: str) -> dict[str, object]:
    """What the gateway said of a message that it took."""
    return {
        "id": receipt.message_id,
        "target": target,
        "type": message_type,
        "decision": str(receipt.decision),
        "reason": receipt.reason or None,
        "approval": receipt.approval or None,
        "deliver_at": moment(receipt.deliver_at),
    }


def _failed(error: MasError, target: str, message_type: str) -> Record:
    return {
        "id": error.details.get("message_id"),
        "target": target,
        "type": message_type,
        "decision": error.details.get("decision"),
        "reason": None,
        "approval": None,
        "deliver_at": None,
        "error": {"code": error.code, "message": error.message, "hint": list(error.hint)},
    }
