"""Opens sealed frames. A frame that opens proves who sent it; one that does not is recorded and dropped."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from mas_core.base.ids import GATEWAY, INSTANCE_ID
from mas_core.errors import DecryptionFailed
from mas_core.gateway.directory import Directory
from mas_core.gateway.sessions import Session, Sessions
from mas_core.model.frame import (
    ENVELOPES_DECODER,
    FRAME_VERSION,
    MAX_FRAME_MESSAGES,
    UNREADABLE,
    FrameHeader,
    Place,
)
from mas_core.model.message import Envelope
from mas_core.security.seals import read_header
from mas_core.store.stored import StoredFrame


@dataclass(slots=True)
class OpenedFrame:
    """A frame from the ingress, opened or rejected."""

    stored: StoredFrame
    header: FrameHeader | None = None
    session: Session | None = None
    envelopes: list[Envelope] | None = None
    """None: the frame opened and holds no messages that can be read."""
    rejection: str = ""
    """Why it does not count as from anybody; empty when it opened."""
    targets: set[str] = field(default_factory=set)
    """Whom its messages are for."""
    is_plain: bool = False
    """Whether all its messages are ordinary ones: no requests, replies, chosen ids, and none to the gateway."""


class Opener:
    """Opens frames of one partition."""

    def __init__(
        self, directory: Directory, sessions: Sessions, *, namespace: str, partition: int, gateway_key_id: str
    ) -> None:
        self._directory = directory
        self._sessions = sessions
        self._namespace = namespace
        self._partition = partition
        self._gateway_key_id = gateway_key_id

    def open(self, stored: StoredFrame) -> OpenedFrame:
        """Open one frame; never raises for what is in it."""
        try:
            header = read_header(stored.frame)
        except DecryptionFailed as error:
            return OpenedFrame(stored, rejection=error.message)
        opened = OpenedFrame(stored, header)
        if (header.version, header.namespace, header.partition, header.place, header.lane) != (
            FRAME_VERSION, self._namespace, self._partition, Place.INGRESS, stored.lane,
        ):  # fmt: skip
            opened.rejection = "the frame belongs to another place"
        elif header.gateway_key_id != self._gateway_key_id:
            opened.rejection = "the frame is sealed for another gateway key"
        elif not (
            0 < header.count <= MAX_FRAME_MESSAGES
            and header.counter > 0
            and INSTANCE_ID.fullmatch(header.session)
            and INSTANCE_ID.fullmatch(header.instance)
        ):
            opened.rejection = "the header of the frame has impossible values"
        else:
            opened.rejection = self._open_body(opened, header)
        return opened

    def _open_body(self, opened: OpenedFrame, header: FrameHeader) -> str:
        key = self._directory.key(header.agent, header.agent_key_id)
        if key is None:
            if not self._directory.is_registered(header.agent):
                return "the agent that it claims to be from is not registered"
            return "the agent that it claims to be from has no such key"
        session = self._sessions.get(header.agent, header.session)
        if session is None:
            session = Session(
                header.agent,
                header.instance,
                key.key_id,
                self._directory.seal_key(header.agent, key, session=header.session, to_gateway=True),
            )
        elif (session.instance, session.key_id) != (header.instance, header.agent_key_id):
            return "the session belongs to another instance"
        try:
            body = session.seal_key.open(header, opened.stored.frame)
        except DecryptionFailed:
            return "the seal does not fit the agent that it claims to be from"
        self._sessions.add(header.session, session)
        opened.session = session
        try:
            envelopes = ENVELOPES_DECODER.decode(body)
        except UNREADABLE:
            envelopes = _readable(body)
        if len(envelopes) == header.count:
            opened.envelopes = envelopes
            opened.targets = {envelope.target for envelope in envelopes}
            opened.is_plain = GATEWAY not in opened.targets and {
                envelope.flags for envelope in envelopes
            } == {0}
        return ""


def _readable(body: bytes) -> list[Envelope]:
    """The messages one by one, so that one that cannot be read does not spoil its neighbours."""
    try:
        texts = msgspec.msgpack.decode(body, type=list[msgspec.Raw])
    except UNREADABLE:
        return []
    return [_envelope(text) for text in texts]


def _envelope(text: msgspec.Raw) -> Envelope:
    try:
        return msgspec.msgpack.decode(text, type=Envelope)
    except UNREADABLE:
        return Envelope("", "", "", b"", 0)
