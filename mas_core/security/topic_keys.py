"""Keys of topics: AES-256-GCM under a random key for each topic and generation.

Whoever may subscribe gets the key from the gateway; nobody can derive it. Nonces are random, which is safe for the
2^32 frames that one key may seal (NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import os
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mas_core.errors import DecryptionFailed
from mas_core.model.frame import FRAME_VERSION, UNREADABLE, Frame
from mas_core.model.topic import TopicHeader

KEY_SIZE: Final = 32
_NONCE_SIZE: Final = 12
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(TopicHeader)


def new_topic_key() -> bytes:
    """A fresh key."""
    return os.urandom(KEY_SIZE)


class TopicKey:
    """One generation of the key of one topic."""

    __slots__ = ("_cipher", "generation", "namespace", "topic")

    def __init__(self, key: bytes, *, namespace: str, topic: str, generation: int) -> None:
        self._cipher = AESGCM(key)
        self.namespace = namespace
        self.topic = topic
        self.generation = generation

    def seal(self, body: bytes, *, last: int, count: int, now: int) -> Frame:
        """Seal messages whose last one has the number `last`."""
        header = _ENCODER.encode(
            TopicHeader(FRAME_VERSION, self.namespace, self.topic, self.generation, last, count, now)
        )
        nonce = os.urandom(_NONCE_SIZE)
        return Frame(header, nonce + self._cipher.encrypt(nonce, body, header))

    def open(self, frame: Frame) -> bytes:
        """The body of a frame of this generation.

        Raises:
            DecryptionFailed: No gateway has sealed it under this key, or it was changed since.
        """
        try:
            return self._cipher.decrypt(frame.body[:_NONCE_SIZE], frame.body[_NONCE_SIZE:], frame.header)
        except (InvalidTag, ValueError) as error:
            raise DecryptionFailed from error


def read_topic_header(frame: Frame, *, namespace: str, topic: str, entry: str) -> TopicHeader:
    """The header of a frame that lies in this log at this place; nothing in it is proven until the frame opens.

    Raises:
        DecryptionFailed: It is not a header, or belongs elsewhere.
    """
    try:
        header = _DECODER.decode(frame.header)
    except UNREADABLE as error:
        raise DecryptionFailed("the frame has no readable header") from error
    says = (header.version, header.namespace, header.topic, f"{header.last}-0")
    if says != (FRAME_VERSION, namespace, topic, entry) or not 0 < header.count <= header.last:
        raise DecryptionFailed("the frame belongs to another place")
    return header
