"""What agents' runtimes say to the gateway itself: attach, heartbeat, detach, hand back, discover."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

import msgspec

from mas_core.base.ids import CAPABILITY
from mas_core.errors import InvalidPayload
from mas_core.model.decision import Decision
from mas_core.model.json_text import parse_json
from mas_core.model.retry import MAX_DELAY_MS, RetryTerms
from mas_core.model.standing import ACTIVE, StandingKind
from mas_core.model.topic import ReportData, SubscribeData

MAX_METADATA_BYTES = 16 * 1024
MAX_METADATA_DEPTH = 8
MAX_CAPABILITIES = 64
MAX_ASKED_AGENTS = 64
MAX_CONTROL_BYTES = 64 * 1024

_OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|<[A-Za-z/!?]"
)
"""Control characters but tab and newline, what turns the direction of writing, and what begins markup."""


class AttachData(msgspec.Struct, forbid_unknown_fields=True):
    """What an instance says when it starts, and again with every heartbeat."""

    capabilities: tuple[str, ...] = ()
    metadata: dict[str, object] = {}
    slot: str = ""
    """Name of the place that a supervisor gives to one instance at a time; a new one replaces the old."""
    in_hand: int = 0
    at_once: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Messages that it handles at the same time at most; 0 where it does not say."""
    status: Literal["active", "draining"] = "active"
    host: str = ""
    pid: int = 0
    incarnation: int = 0
    """When this life of the instance began, in Unix milliseconds by the server's clock."""
    standing: StandingKind = ACTIVE
    """The operator's word that it obeys."""
    state_model: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Name of the model of its state; empty where any state will do."""
    state_looked: int = 0
    """Revision of the newest state set by an operator that it has looked at."""
    state_problem: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Why it cannot use what is stored."""


class NackData(msgspec.Struct, forbid_unknown_fields=True):
    """A delivered message that could not be handled."""

    lane: Literal["high", "normal", "low"]
    entry: str
    position: Annotated[int, msgspec.Meta(ge=0)]
    code: str
    reason: str = ""
    retryable: bool = True
    is_spent: bool = False
    """It was begun and is handled at most once: it is neither tried again nor kept."""
    retry: RetryTerms | None = None
    """When it is to come again; as the gateway is set where the agent does not say."""
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_DELAY_MS)] = 0
    """It may not come earlier, as the error said that it failed with."""


class OutcomeData(msgspec.Struct, forbid_unknown_fields=True):
    """What became of a message that the agent settled itself."""

    message_id: Annotated[str, msgspec.Meta(max_length=128)]
    sender: Annotated[str, msgspec.Meta(max_length=63)]
    code: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Why it failed; empty when it did not."""


class DiscoverData(msgspec.Struct, forbid_unknown_fields=True):
    """What to look for."""

    capabilities: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_CAPABILITIES)] = ()
    match_all: bool = False
    metadata: dict[str, object] = {}
    status: str = ""
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Only so many, those with the least in hand; 0 for all."""


class WaysData(msgspec.Struct, forbid_unknown_fields=True):
    """Where a message may go that is sent to a capability or a route."""

    target: Annotated[str, msgspec.Meta(max_length=100)]
    type: Annotated[str, msgspec.Meta(max_length=128)]
    expects_reply: bool = False


class KeysData(msgspec.Struct, forbid_unknown_fields=True):
    """Whose public keys are wanted."""

    agents: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_ASKED_AGENTS)]


ControlData = TypeVar(
    "ControlData",
    AttachData,
    NackData,
    OutcomeData,
    DiscoverData,
    WaysData,
    KeysData,
    SubscribeData,
    ReportData,
)


def read_control(text: bytes, kind: type[ControlData]) -> ControlData:
    """What an agent's runtime says, parsed as strictly as any payload.

    Raises:
        msgspec.DecodeError: It cannot be read.
    """
    try:
        parse_json(text, max_bytes=MAX_CONTROL_BYTES)
    except InvalidPayload as error:
        # A text of the payload must not get into the audit, not even the name of a key.
        said = "an object has the same key twice" if "key" in error.details else error.message
        raise msgspec.DecodeError(said) from None
    return msgspec.json.decode(text, type=kind)


def check_claims(data: AttachData, permitted: tuple[str, ...] | None) -> tuple[Decision, str] | None:
    """Why an instance may not say this of itself, or None when it may."""
    if len(data.capabilities) > MAX_CAPABILITIES:
        return Decision.INVALID, f"more than {MAX_CAPABILITIES} capabilities"
    for name in data.capabilities:
        if not CAPABILITY.fullmatch(name):
            return Decision.INVALID, "a capability has characters or a length that are not allowed"
        if permitted is not None and name not in permitted:
            return Decision.DENIED, f"Authorization denied: the agent may not claim the capability {name}"
    if len(msgspec.json.encode(data.metadata)) > MAX_METADATA_BYTES:
        return Decision.INVALID, f"more than {MAX_METADATA_BYTES} bytes of metadata"
    if not _is_plain(data.metadata, MAX_METADATA_DEPTH):
        return Decision.INVALID, "the metadata has control characters, markup, or too many levels"
    return None


def _is_plain(value: object, levels: int) -> bool:
    """Whether no text in it is something that a terminal or a browser would obey."""
    if isinstance(value, str):
        return _OBEYED.search(value) is None
    if isinstance(value, dict):
        return levels > 0 and all(
            _is_plain(key, levels) and _is_plain(item, levels - 1) for key, item in value.items()
        )
    if isinstance(value, list):
        return levels > 0 and all(_is_plain(item, levels - 1) for item in value)
    return True
