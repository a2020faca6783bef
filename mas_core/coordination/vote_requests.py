"""What voters, proposers and askers say to the voting machine, read strictly."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sized
from typing import Annotated, TypeVar

import msgspec

from mas_core.coordination.ballots import MAX_ON_SHEET
from mas_core.errors import InvalidPayload
from mas_core.model.json_text import misfit

MAX_WAIT_MS = 60_000
MAX_TOGETHER = MAX_ON_SHEET
"""Proposals, or ballots, in one message."""

_Request = TypeVar("_Request", bound="CastRequest | GetRequest | CloseRequest")


class SameChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ballots of a sheet that say the same: all that follow each other with one round and one choice."""

    round: int
    ranking: tuple[str, ...]
    proposals: tuple[str, ...] = ("",)
    """The words that the proposals' ids end with; empty for one that was opened alone."""


class CastRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ballots of one voter under one signature."""

    key_id: str
    signature: str
    """URL-safe base64."""
    ballots: tuple[SameChoice, ...]
    voter: str = ""
    """Nobody else than the sender; may be left out."""


class GetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question for the state of proposals."""

    proposals: dict[str, int] = {}
    """Word, empty for a proposal that was opened alone -> the round that the asker knows of."""
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_MS)] = 0
    """Wait so long for each to have a result, or one a round that the asker does not know."""
    documents: bool = True
    """Whether the proposals themselves are wanted."""


class CloseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The wish to end a proposal now."""

    proposal: str = ""
    choice: str | None = None
    """What the operator of an escalated vote chooses; empty for none."""


def read_request(data: object, kind: type[_Request]) -> _Request:
    """A request from the wire.

    Raises:
        InvalidPayload: It is none, or too long.
    """
    try:
        found = msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise InvalidPayload(f"this is not what is expected here: {misfit(error)}") from None
    items: Sized = ()
    if isinstance(found, CastRequest):
        items = [word for group in found.ballots for word in group.proposals]
    elif isinstance(found, GetRequest):
        items = found.proposals
    if len(items) > MAX_TOGETHER:
        raise InvalidPayload(f"at most {MAX_TOGETHER} go into one message")
    return found


def signature_text(signature: bytes) -> str:
    """A signature as it stands in a request."""
    return urlsafe_b64encode(signature).decode().rstrip("=")


def signature_bytes(text: str) -> bytes:
    """The signature in a request; empty when it is none."""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
