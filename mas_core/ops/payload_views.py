"""Payloads beside messages that are shown, where the policy had copies kept and the keys are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import msgspec

from mas_core.errors import KeyNotFound, MasError, MessageNotFound
from mas_core.model.policy import PolicyDocument
from mas_core.ops import payload_copies
from mas_core.ops.system import System
from mas_core.security.type_glob import compile_glob

NOT_KEPT = "payload not kept"


@dataclass(frozen=True, slots=True)
class ShownPayload:
    """A payload, or why there is none to show."""

    value: object = None
    problem: str = ""
    """Empty where there is one."""


class PayloadView:
    """Looks payloads up; only those of types that the policy keeps cost anything.

    Args:
        system: The system; the keys of payloads are needed.
        policy: What says of which types copies are kept.
    """

    def __init__(self, system: System, policy: PolicyDocument) -> None:
        self._system = system
        self._kept = [compile_glob(glob) for glob in policy.audit_payloads]

    @classmethod
    async def of(cls, system: System) -> Self:
        """A view by the policy in force."""
        return cls(system, await system.policy.load() or PolicyDocument())

    @property
    def is_empty(self) -> bool:
        """Whether the policy has no copies kept."""
        return not self._kept

    async def look(self, identifier: str, message_type: str) -> ShownPayload:
        """The payload of a message, by its id or the number of its record."""
        if not any(matches(message_type) for matches in self._kept):
            return ShownPayload(problem=NOT_KEPT)
        try:
            _, text = await payload_copies.read(self._system, identifier)
        except MessageNotFound:
            return ShownPayload(problem=NOT_KEPT)
        except KeyNotFound:
            return ShownPayload(
                problem=f"kept under the key of its subject: mas audit payload {identifier} --subject SUBJECT"
            )
        except MasError as error:
            return ShownPayload(problem=error.message)
        try:
            return ShownPayload(msgspec.json.decode(text))
        except msgspec.DecodeError:
            return ShownPayload(problem="the copy is no JSON")
