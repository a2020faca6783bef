"""Sealed frames: AES-256-GCM under a key that only one agent and the gateway can compute.

The key comes from X25519 between the agent's and the gateway's key pairs, through HKDF-SHA-256 (RFC 5869)
with the session as salt and namespace, direction, agent and key ids as info. A session never repeats a
counter for one partition and lane, so nonces are unique. Sealing proves who made a frame; it does not hide
its header, its size or its time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mas_core.errors import DecryptionFailed
from mas_core.model.frame import HEADER_DECODER, HEADER_ENCODER, UNREADABLE, Frame, FrameHeader, Place
from mas_core.model.priority import LANES

_NONCE = struct.Struct(">BBHQ")
_PLACES = {place: number for number, place in enumerate(Place)}
_LANES = {lane: number for number, lane in enumerate((*LANES, ""))}


class SealKey:
    """The key of one session between one agent key and the gateway, in one direction."""

    __slots__ = ("_cipher", "agent_key_id")

    def __init__(
        self,
        private_key: X25519PrivateKey,
        public_key: X25519PublicKey,
        *,
        session: str,
        namespace: str,
        to_gateway: bool,
        agent: str,
        agent_key_id: str,
        gateway_key_id: str,
    ) -> None:
        direction = "to-gateway" if to_gateway else "to-agent"
        info = "\x00".join(("mas/frame", namespace, direction, agent, agent_key_id, gateway_key_id))
        key = HKDF(SHA256(), 32, salt=session.encode(), info=info.encode()).derive(
            private_key.exchange(public_key)
        )
        self._cipher = AESGCM(key)
        self.agent_key_id = agent_key_id

    def seal(self, header: FrameHeader, body: bytes) -> Frame:
        """Seal `body`; the header is readable and bound to it."""
        text = HEADER_ENCODER.encode(header)
        return Frame(text, self._cipher.encrypt(_nonce(header), body, text))

    def open(self, header: FrameHeader, frame: Frame) -> bytes:
        """The body of `frame`, whose decoded header is `header`.

        Raises:
            DecryptionFailed: It was not sealed under this key or was changed since.
        """
        cipher = self._cipher
        try:
            if header.wraps is not None:
                cipher = AESGCM(self._unwrap(header))
            return cipher.decrypt(_nonce(header), frame.body, frame.header)
        except (InvalidTag, ValueError) as error:
            raise DecryptionFailed from error

    def wrap(self, body_key: bytes, counter: int) -> bytes:
        """`body_key` sealed for this agent key; `counter` is the frame's."""
        return self._cipher.encrypt(_wrap_nonce(counter), body_key, b"mas/wrap")

    def _unwrap(self, header: FrameHeader) -> bytes:
        wrapped = (header.wraps or {}).get(self.agent_key_id)
        if wrapped is None:
            raise DecryptionFailed("the frame is not sealed for this key")
        try:
            return self._cipher.decrypt(_wrap_nonce(header.counter), wrapped, b"mas/wrap")
        except InvalidTag as error:
            raise DecryptionFailed from error


def seal_for(keys: Sequence[SealKey], header: FrameHeader, body: bytes) -> Frame:
    """Seal `body` so that the holder of any of `keys` can open it; one key is the common case."""
    if len(keys) == 1:
        return keys[0].seal(header, body)
    body_key = os.urandom(32)
    header = msgspec.structs.replace(
        header, wraps={key.agent_key_id: key.wrap(body_key, header.counter) for key in keys}
    )
    text = HEADER_ENCODER.encode(header)
    return Frame(text, AESGCM(body_key).encrypt(_nonce(header), body, text))


def read_header(frame: Frame) -> FrameHeader:
    """The header of a frame; nothing in it is proven until the frame opens.

    Raises:
        DecryptionFailed: It is not a header.
    """
    try:
        return HEADER_DECODER.decode(frame.header)
    except UNREADABLE as error:
        raise DecryptionFailed("the frame has no readable header") from error


def _nonce(header: FrameHeader) -> bytes:
    try:
        return _NONCE.pack(_PLACES[header.place], _LANES[header.lane], header.partition, header.counter)
    except (KeyError, struct.error) as error:
        raise DecryptionFailed("the header of the frame has impossible values") from error


def _wrap_nonce(counter: int) -> bytes:
    # Bodies use nonces whose first byte is a place; 255 is none, so wraps never share a nonce with them.
    return b"\xff\x00\x00\x00" + counter.to_bytes(8, "big")


class AtRest:
    """Seals what the gateway keeps for itself: dead letters and messages for later."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, purpose: str, text: bytes) -> bytes:
        """`text` sealed for `purpose`."""
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, text, purpose.encode())

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed for `purpose`.

        Raises:
            DecryptionFailed: It was sealed under another key or for another purpose, or was changed.
        """
        try:
            return self._cipher.decrypt(sealed[:12], sealed[12:], purpose.encode())
        except (InvalidTag, ValueError) as error:
            raise DecryptionFailed from error
