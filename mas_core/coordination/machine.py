"""What every machine of coordination is: it takes commands and moments, and says what follows.

A machine has no clock, no store and no network. The gateway that owns its partition hands it commands that have
passed every stage of the policy, and carries out what it answers in the same atomic commit as the audit record of
the command. Whatever a machine knows beside its records (who waits for an answer) may be forgotten at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

import msgspec

from mas_core.model.json_text import misfit

Data = TypeVar("Data")


class Refusal(Exception):
    """A command that cannot be carried out.

    Attributes:
        code: What programs ask for, such as `not_leader`.
        message: The same in words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Command(msgspec.Struct, frozen=True):
    """A message to a resource, as its machine sees it."""

    resource: str
    """Name, without the kind."""
    verb: str
    """The type of the message, without the kind."""
    sender: str
    instance: str
    request: str
    """Id of the message: what an answer refers to."""
    data: dict[str, object]
    now: int
    """Unix milliseconds by the server's clock; never less than before."""
    wants_answer: bool = True

    def is_from_same_as(self, other: Command) -> bool:
        """Whether the same instance of the same agent sent both; instances of others may have its name."""
        return (self.sender, self.instance) == (other.sender, other.instance)

    def read(self, kind: type[Data]) -> Data:
        """The payload as one of the machine's own shapes.

        Raises:
            Refusal: It is not.
        """
        try:
            return msgspec.convert(self.data, kind)
        except msgspec.ValidationError as error:
            raise Refusal("invalid", f"the payload cannot be used: {misfit(error)}") from None

    def without_waiting(self, now: int) -> Command:
        """The same, asked now by somebody who does not want to wait."""
        return msgspec.structs.replace(self, data={**self.data, "wait_ms": 0}, now=now)


class Answer(msgspec.Struct, frozen=True):
    """What an instance is told about a command of its own; it may come long after the command."""

    agent: str
    instance: str
    request: str
    data: dict[str, object]
    error: str = ""
    """Code of an error; its words are in `data["message"]`."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a resource, for the audit."""

    kind: str
    """Such as `leader.elected`."""
    resource: str
    reason: str
    details: dict[str, object] = {}
    sender: str = ""


class Step(msgspec.Struct):
    """What follows from a command or from a moment."""

    records: dict[str, bytes | None] = {}
    """Name -> changed record; None takes it away."""
    finished: dict[str, bytes] = {}
    """Name -> last record of what is over: kept for a while under a key of its own, to be read and no more."""
    answers: list[Answer] = []
    events: list[Event] = []
    outcome: str = ""
    """What became of the command in a word, for its audit record."""
    details: dict[str, object] = {}
    """What else its audit record tells."""

    def answer(self, command: Command, data: dict[str, object], error: str = "") -> None:
        """Answer a command, if its sender waits."""
        if command.wants_answer:
            self.answers.append(Answer(command.sender, command.instance, command.request, data, error))


class Machine(Protocol):
    """One kind of resource of one partition."""

    kind: str

    def load(self, records: Mapping[str, bytes]) -> None:
        """Start from these records, and forget everything else."""

    def command(self, command: Command) -> Step:
        """Carry out a command.

        Raises:
            Refusal: It cannot be carried out; nothing has changed.
        """

    def waiting(self) -> list[Command]:
        """Commands whose senders still wait for an answer."""

    def send_away(self, command: Command) -> Step:
        """Answer a command that waited at a machine before this one, as if it had waited long enough.

        Its sender gets nothing by that, since the policy may have changed; it has to ask again.
        """

    def next_due(self) -> int:
        """The first moment at which something falls due by itself, in Unix milliseconds; 0 when nothing does."""

    def tick(self, now: int) -> Step:
        """Carry out what is due."""
