"""What a line of a backup has to be, when it is made as when it is read: what a system of these keys writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from mas_core.base.ids import AGENT_ID
from mas_core.errors import BackupInvalid, DecryptionFailed
from mas_core.model.approval import DUE_PREFIX, HeldMessage
from mas_core.model.approval import seal_purpose as held_purpose
from mas_core.model.dead_letter import LetterFacts, facts_purpose, seal_purpose
from mas_core.model.frame import UNREADABLE
from mas_core.model.message import Delivery
from mas_core.model.policy import PolicyDocument
from mas_core.model.registration import Registration
from mas_core.model.scheduled import SCHEDULE_PREFIX, ScheduledMessage
from mas_core.model.scheduled import seal_purpose as scheduled_purpose
from mas_core.ops.backup.backup_file import BackupReader
from mas_core.ops.backup.contents import (
    AgentLine,
    CircuitLine,
    DeadLine,
    LaterLine,
    Line,
    Manifest,
    Part,
    PolicyLine,
    StateLine,
)
from mas_core.registry.signed import verified
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.stored import ENTRY

MAX_NAME: Final = 512
_MOST: Final = 2**63


class LineCheck:
    """Looks at lines of a backup.

    Args:
        keys: The gateway's keys of the system that it is of.
        partitions: How many partitions that system has.
    """

    def __init__(self, keys: GatewayKeys, partitions: int) -> None:
        self._keys = keys
        self._partitions = partitions
        self._at_rest = AtRest(keys.at_rest_key)

    def problem(self, line: Line) -> str:
        """Why nobody should restore this line; empty when all is well."""
        try:
            return self._problem(line)
        except (DecryptionFailed, *UNREADABLE):
            return "it cannot be opened"

    def opens(self, line: LaterLine) -> bool:
        """Whether a message for later can be opened; what is not known here counts as if it could."""
        try:
            if line.name.startswith(DUE_PREFIX):
                purpose = held_purpose(line.name.removeprefix(DUE_PREFIX))
                msgspec.msgpack.decode(self._at_rest.open(purpose, line.body), type=HeldMessage)
            elif line.name.startswith(SCHEDULE_PREFIX):
                purpose = scheduled_purpose(line.name.removeprefix(SCHEDULE_PREFIX))
                msgspec.msgpack.decode(self._at_rest.open(purpose, line.body), type=ScheduledMessage)
            elif "/" not in line.name:
                self.delivery(line)
        except (DecryptionFailed, *UNREADABLE):
            return False
        return True

    def delivery(self, line: LaterLine) -> Delivery:
        """The delivery that is tried again later.

        Raises:
            DecryptionFailed, msgspec.DecodeError: It is none.
        """
        return msgspec.msgpack.decode(self._at_rest.open("later", line.body), type=Delivery)

    def _problem(self, line: Line) -> str:
        match line:
            case PolicyLine():
                return self._policy_problem(line)
            case AgentLine():
                return self._agent_problem(line)
            case StateLine():
                is_sound = bool(AGENT_ID.fullmatch(line.agent)) and 0 <= line.ordered <= line.revision < _MOST
                return "" if is_sound else "it is no state of an agent"
            case LaterLine():
                is_sound = 0 < len(line.name) <= MAX_NAME and 0 <= line.due < _MOST
                return "" if is_sound and self._is_here(line.partition) else "it is nothing for later"
            case DeadLine():
                return self._letter_problem(line)
            case CircuitLine():
                is_sound = 0 < len(line.field) <= MAX_NAME and self._is_here(line.partition)
                return "" if is_sound else "it is no circuit"

    def _policy_problem(self, line: PolicyLine) -> str:
        if not self._keys.check_mac("policy", line.document, line.mac):
            return "the policy does not carry the gateway's MAC"
        document = msgspec.json.decode(line.document, type=PolicyDocument)
        return "" if document.revision == line.revision > 0 else "the policy has another revision"

    def _agent_problem(self, line: AgentLine) -> str:
        record = line.record.encode()
        if not self._keys.check_mac(f"registration:{line.agent}", record, line.mac):
            return "the registration does not carry the gateway's MAC"
        found = msgspec.json.decode(record, type=Registration)
        is_sound = found.agent_id == line.agent and AGENT_ID.fullmatch(line.agent)
        return "" if is_sound else "the registration is another agent's"

    def _letter_problem(self, line: DeadLine) -> str:
        is_sound = (
            self._is_here(line.partition)
            and ENTRY.fullmatch(line.entry)
            and all(int(part) < 2**64 for part in line.entry.split("-"))
            and 0 <= line.dropped_until < _MOST
            and 0 < len(line.fields) <= 32
        )
        if not is_sound:
            return "it is no dead letter"
        text = verified(self._keys, facts_purpose(line.partition), line.fields.get("facts", b""))
        if text is None:
            return "the dead letter does not carry the gateway's MAC"
        facts = msgspec.json.decode(text, type=LetterFacts)
        self._at_rest.open(seal_purpose(line.partition, facts.seq), line.fields.get("body", b""))
        return ""

    def _is_here(self, partition: int) -> bool:
        return 0 <= partition < self._partitions


def checked_lines(reader: BackupReader, manifest: Manifest, part: Part, check: LineCheck) -> Iterator[Line]:
    """The lines of a part, each looked at; that they are all is known after the last one.

    Raises:
        BackupInvalid: A line is not what a system of these keys writes, or the part is not what was written.
    """
    for number, line in enumerate(reader.lines(part, manifest), 1):
        if problem := check.problem(line):
            raise BackupInvalid(
                f"{reader.path} cannot be used: line {number} of its part {part}: {problem}",
                path=str(reader.path),
            )
        yield line
