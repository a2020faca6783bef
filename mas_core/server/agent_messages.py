"""Messages of agents.proto from ours, and ours from them; whatever comes in is made sure of here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, TypeVar

from mas_core.agent.supervisor import TaskStatus
from mas_core.agent.task_handlers import Assignment
from mas_core.errors import InvalidPayload, MasError, UsageError
from mas_core.model.decision import Receipt
from mas_core.model.json_text import encode_json, parse_json
from mas_core.model.message import DEFAULT_TTL_MS, AgentMessage
from mas_core.model.priority import NORMAL
from mas_core.protocol import agents_pb2 as wire
from mas_core.protocol.faults import fault_of

MAX_WORDS: Final = 64
"""Capabilities, dependencies and the like that one call may name."""
MAX_METADATA: Final = 16 * 1024
REQUEST_S: Final = 30.0
MAX_REQUEST_S: Final = 300.0
_LAST_MS: Final = 253_370_764_800_000
"""The year 9999."""

Word = TypeVar("Word")


class SendOptions(TypedDict):
    """What is said of a message beside its target, type and payload."""

    priority: int
    ttl: float
    message_id: str
    headers: dict[str, str] | None


class Modes(TypedDict, total=False):
    """What is said of a message that goes to an agent."""

    delivery: str
    on_behalf_of: AgentMessage | None


def payload_of(text: str, what: str = "payload", max_bytes: int | None = None) -> dict[str, Any]:
    """The object that a text says; an empty text is an empty object.

    Raises:
        InvalidPayload: It is no strict JSON, no object, or too long.
    """
    if not text:
        return {}
    found = parse_json(text.encode(), **({} if max_bytes is None else {"max_bytes": max_bytes}))
    if not isinstance(found, dict):
        raise InvalidPayload(f"the {what} must be an object", hint="""wrap it, for example {"value": ...}""")
    return found


def few(words: Sequence[Word]) -> list[Word]:
    """Some words, which are not too many.

    Raises:
        UsageError: They are.
    """
    if len(words) > MAX_WORDS:
        raise UsageError(f"one call names at most {MAX_WORDS} of these, not {len(words)}")
    return list(words)


def send_options(message: wire.NewMessage | wire.NewPublication) -> SendOptions:
    """What a message to be sent or published says beside where it goes and what it is."""
    return {
        "priority": message.priority if message.HasField("priority") else NORMAL,
        "ttl": (message.ttl_ms or DEFAULT_TTL_MS) / 1000,
        "message_id": message.message_id,
        "headers": dict(message.headers) or None,
    }


def modes_of(message: wire.NewMessage, during: AgentMessage | None) -> Modes:
    """How a message is to be handled, and for whom it is sent.

    Args:
        message: The message.
        during: What is handled while it is sent.

    Raises:
        UsageError: It is on somebody's behalf, and nothing is handled.
    """
    modes: Modes = {"delivery": message.delivery}
    if message.on_behalf:
        if during is None:
            raise UsageError("on_behalf needs the delivery in whose course the message is sent")
        modes["on_behalf_of"] = during
    return modes


def due_at(message: wire.NewMessage) -> datetime | None:
    """When a message is due.

    Raises:
        UsageError: No clock will ever show that.
    """
    if message.deliver_at_ms > _LAST_MS:
        raise UsageError(
            f"deliver_at_ms is in Unix milliseconds, and {message.deliver_at_ms} is beyond all years"
        )
    return datetime.fromtimestamp(message.deliver_at_ms / 1000, UTC) if message.deliver_at_ms else None


def request_seconds(request: wire.NewRequest) -> float:
    """How long to wait for a reply.

    Raises:
        UsageError: The message is due later, and nobody waits for that.
    """
    if request.message.deliver_at_ms or request.message.deliver_after_ms:
        raise UsageError("a request is sent at once: it takes no deliver_at_ms or deliver_after_ms")
    return min(request.timeout_ms / 1000, MAX_REQUEST_S) if request.timeout_ms else REQUEST_S


def receipt_out(receipt: Receipt) -> wire.Receipt:
    """A receipt as it is told."""
    findings = [
        wire.Finding(
            rule=item.rule,
            category=item.category,
            path=item.path,
            start=item.start,
            end=item.end,
            action=item.action,
        )
        for item in receipt.findings
    ]
    return wire.Receipt(
        message_id=receipt.message_id,
        decision=str(receipt.decision),
        reason=receipt.reason,
        rule=receipt.rule,
        findings=findings,
        approval=receipt.approval,
        deliver_at_ms=receipt.deliver_at,
    )


def json_out(value: object) -> str:
    """An object as JSON text."""
    return encode_json(value).decode()


def fault_out(error: MasError) -> wire.Fault:
    """Why something was not carried out."""
    fault = fault_of(error)
    return wire.Fault(code=fault.code, message=fault.message, hints=fault.hints, details=fault.details)


def message_out(message: AgentMessage) -> wire.Message:
    """A message that came."""
    return wire.Message(
        message_id=message.message_id,
        sender=message.sender_id,
        target=message.target_id,
        type=message.message_type,
        data=json_out(message.data),
        priority=message.priority,
        headers=message.headers,
        time_ms=max(0, round(message.timestamp * 1000)),
        expects_reply=message.expects_reply,
        correlation_id=message.meta.correlation_id,
        attempt=message.attempt,
        takeovers=message.takeovers,
        topic=message.topic,
        number=message.number,
        on_behalf_of=message.on_behalf_of,
    )


def assignment_out(assignment: Assignment) -> wire.ToAgent.Delivery.Task:
    """A task to be done."""
    return wire.ToAgent.Delivery.Task(
        task_id=assignment.task_id,
        queue=assignment.queue,
        type=assignment.type,
        attempt=assignment.attempt,
        assigner=assignment.assigner,
        deadline_ms=assignment.deadline,
        parameters=json_out(assignment.parameters),
        description=assignment.description,
    )


def task_out(status: TaskStatus) -> wire.Task:
    """What is known of a task."""
    return wire.Task(
        task_id=status.task_id,
        queue=status.queue,
        type=status.type,
        status=status.status,
        assigner=status.assigner,
        worker=status.worker,
        attempt=status.attempt,
        progress=status.completion_percentage,
        note=status.note,
        deadline_ms=status.deadline,
        result=json_out(status.result) if status.result is not None else "",
        error_type=status.error.type if status.error is not None else "",
        error_message=status.error.message if status.error is not None else "",
    )


def found_out(agent: dict[str, Any]) -> wire.DiscoverReply.Agent:
    """An agent that was found."""
    return wire.DiscoverReply.Agent(
        id=str(agent.get("id", "")),
        capabilities=[str(item) for item in agent.get("capabilities", ())],
        metadata=json_out(agent.get("metadata") or {}),
        instances=int(agent.get("instances", 0)),
        load=int(agent.get("load", 0)),
        free=max(0, int(agent.get("free", 0))),
    )
