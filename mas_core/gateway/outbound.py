"""Collects what leaves the gateway in a batch and seals it into as few frames as possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from mas_core.gateway.directory import Directory
from mas_core.model.frame import (
    FRAME_VERSION,
    MAX_DELIVERY_MESSAGES,
    Frame,
    FrameHeader,
    FrameReceipt,
    Place,
)
from mas_core.model.message import Delivery
from mas_core.model.registration import AgentKey
from mas_core.security.seals import SealKey, seal_for

MAX_DELIVERY_BYTES = 256 * 1024
"""Payload bytes after which an inbox frame is closed; one larger message travels alone."""

_ENCODER = msgspec.msgpack.Encoder()


class Outbound:
    """Deliveries, replies and receipts of one batch, sealed for their receivers.

    `session` is the owner's nonce: it is new for every term of ownership, so counters start at 1.
    """

    def __init__(
        self, directory: Directory, *, namespace: str, partition: int, session: str, gateway_key_id: str
    ) -> None:
        self._directory = directory
        self._namespace = namespace
        self._partition = partition
        self._session = session
        self._gateway_key_id = gateway_key_id
        self._seal_keys: dict[str, SealKey] = {}
        self._counter = 0
        self._deliveries: dict[tuple[str, str], list[Delivery]] = {}
        self._replies: dict[tuple[str, str], list[Delivery]] = {}
        self._receipts: dict[tuple[str, str, str], list[FrameReceipt | msgspec.Raw]] = {}

    def clear(self) -> None:
        """Forget what was collected; counters go on, so no nonce is used twice."""
        self._deliveries.clear()
        self._replies.clear()
        self._receipts.clear()
        self._seal_keys.clear()

    def deliver(self, lane: str, delivery: Delivery) -> None:
        """A message for an inbox."""
        self._deliveries.setdefault((delivery.target, lane), []).append(delivery)

    def answer(self, instance: str, delivery: Delivery) -> None:
        """A reply for one instance."""
        self._replies.setdefault((delivery.target, instance), []).append(delivery)

    def receipt(self, agent_id: str, instance: str, key_id: str, receipt: FrameReceipt | bytes) -> None:
        """The receipt of a frame, or the encoded one of a frame that came again.

        It is sealed for the key that the frame came under, so that also a sender whose key counts no more
        learns why it is refused.
        """
        item = msgspec.Raw(receipt) if isinstance(receipt, bytes) else receipt
        self._receipts.setdefault((agent_id, instance, key_id), []).append(item)

    def inbox_frames(self, now: int) -> Iterator[tuple[str, str, Frame, int]]:
        """Agent, lane, frame and number of messages, in the order of delivery."""
        for (agent_id, lane), deliveries in self._deliveries.items():
            for part in _portions(deliveries):
                frame = self._seal(Place.INBOX, agent_id, "", lane, part, len(part), now)
                if frame is not None:
                    yield agent_id, lane, frame, len(part)
        self._deliveries.clear()

    def reply_frames(self, now: int) -> Iterator[tuple[str, str, Frame]]:
        """Agent, instance and frame of the replies."""
        for (agent_id, instance), deliveries in self._replies.items():
            for part in _portions(deliveries):
                frame = self._seal(Place.REPLIES, agent_id, instance, "", part, len(part), now)
                if frame is not None:
                    yield agent_id, instance, frame
        self._replies.clear()

    def receipt_frames(self, now: int) -> Iterator[tuple[str, str, Frame]]:
        """Agent, instance and frame of the receipts."""
        for (agent_id, instance, key_id), receipts in self._receipts.items():
            key = self._directory.key(agent_id, key_id)
            if key is not None:
                frame = self._seal_under(
                    [key], Place.RECEIPTS, agent_id, instance, "", receipts, len(receipts), now
                )
                yield agent_id, instance, frame
        self._receipts.clear()

    def _seal(
        self, place: Place, agent_id: str, instance: str, lane: str, body: object, count: int, now: int
    ) -> Frame | None:
        keys = self._directory.valid_keys(agent_id, now)
        if not keys and (registration := self._directory.registration(agent_id)) is not None:
            # An agent whose token has expired keeps its mail; a revoked token must open nothing any more.
            keys = [key for key in registration.keys if not key.revoked][:1]
        if not keys:
            return None
        return self._seal_under(keys, place, agent_id, instance, lane, body, count, now)

    def _seal_under(
        self,
        keys: Sequence[AgentKey],
        place: Place,
        agent_id: str,
        instance: str,
        lane: str,
        body: object,
        count: int,
        now: int,
    ) -> Frame:
        seal_keys = []
        for key in keys:
            seal_key = self._seal_keys.get(key.key_id)
            if seal_key is None:
                seal_key = self._directory.seal_key(agent_id, key, session=self._session, to_gateway=False)
                self._seal_keys[key.key_id] = seal_key
            seal_keys.append(seal_key)
        self._counter += 1
        header = FrameHeader(
            FRAME_VERSION,
            self._namespace,
            self._partition,
            place,
            lane,
            agent_id,
            instance,
            self._session,
            keys[0].key_id,
            self._gateway_key_id,
            self._counter,
            count,
            now,
        )
        return seal_for(seal_keys, header, _ENCODER.encode(body))


def _portions(deliveries: list[Delivery]) -> Iterator[list[Delivery]]:
    start = 0
    while start < len(deliveries):
        part = deliveries[start : start + MAX_DELIVERY_MESSAGES]
        sizes = [len(delivery.data) for delivery in part]
        if sum(sizes) > MAX_DELIVERY_BYTES:
            fitting = sum(size <= MAX_DELIVERY_BYTES for size in accumulate(sizes))
            part = part[: max(1, fitting)]
        yield part
        start += len(part)
