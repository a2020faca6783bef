"""Refuses what is not a well-formed message, before anything looks inside it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mas_core.base.ids import MESSAGE_ID, MESSAGE_TYPE
from mas_core.base.resources import TARGET
from mas_core.errors import InvalidPayload
from mas_core.gateway.transit import Surroundings, Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.json_text import Parsed, parse_all
from mas_core.model.message import BEHALF_HEADER, MAX_TTL_MS

MAX_HEADERS = 32
MAX_HEADER_LENGTH = 1024
MAX_CAPSULE_BYTES = 1024
SENDER_HEADERS = ("sender", "sender_id")
"""Headers that can only say who sent the message; others could take them for it."""
SENDER_MISMATCH = "sender_mismatch"
MAX_KNOWN_ADDRESSES = 10_000
"""Pairs of target and type that were found well-formed and are not looked at again."""

_MESSAGE_IDS = re.compile(rf"{MESSAGE_ID.pattern}(?:\n{MESSAGE_ID.pattern})*+")


class CheckForm:
    """Ids, types, headers and the payload's size and syntax."""

    name = "form"

    def __init__(self, max_payload_bytes: int) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._known_addresses: set[tuple[str, str]] = set()

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those that are well-formed; of a plain message only what it does not share with others is looked at."""
        ids = "\n".join([transit.envelope.id for transit in transits])
        has_fine_ids = _MESSAGE_IDS.fullmatch(ids) and ids.count("\n") == len(transits) - 1
        known = self._known_addresses
        going = []
        for transit in transits:
            envelope = transit.envelope
            if (
                has_fine_ids
                and (envelope.target, envelope.type) in known
                and 0 <= envelope.priority <= 10
                and 0 < envelope.ttl_ms <= MAX_TTL_MS
                and not (
                    envelope.correlation
                    or envelope.capsule
                    or envelope.headers
                    or envelope.parent
                    or envelope.behalf
                )
            ) or (verdict := self._check_envelope(transit)) is None:
                going.append(transit)
            else:
                transit.end(verdict)
        parsed = parse_all([transit.envelope.data for transit in going], max_bytes=self._max_payload_bytes)
        well_formed = []
        for transit, result in zip(going, parsed, strict=True):
            if (
                type(result) is tuple
                and type(result[0]) is dict
                and len(result[1]) <= self._max_payload_bytes
            ):
                transit.value, transit.data = result
                transit.is_well_formed = True
                well_formed.append(transit)
            else:
                transit.end(self._payload_verdict(result))
        return well_formed

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Invalid, or the payload parsed into `transit.value`."""
        going = self.sift((transit,), batch)
        return None if going else Verdict(transit.decision, transit.reason, transit.rule)

    def _check_envelope(self, transit: Transit) -> Verdict | None:
        envelope = transit.envelope
        if not MESSAGE_ID.fullmatch(envelope.id):
            return _invalid("the message id has characters or a length that are not allowed")
        address = (envelope.target, envelope.type)
        if address not in self._known_addresses:
            if not TARGET.fullmatch(envelope.target):
                return _invalid("the target can be neither the id of an agent nor a resource")
            if not MESSAGE_TYPE.fullmatch(envelope.type):
                return _invalid("the message type has characters or a length that are not allowed")
            if len(self._known_addresses) < MAX_KNOWN_ADDRESSES:
                self._known_addresses.add(address)
        if not 0 <= envelope.priority <= 10:
            return _invalid("the priority is not between 0 and 10")
        if not 0 < envelope.ttl_ms <= MAX_TTL_MS:
            return _invalid("the time to live is not between 1 ms and 30 days")
        if envelope.correlation and not (transit.is_reply and MESSAGE_ID.fullmatch(envelope.correlation)):
            return _invalid("only a reply names the request that it answers, by its id")
        if envelope.parent and not MESSAGE_ID.fullmatch(envelope.parent):
            return _invalid("what it is sent for has no id that a message can have")
        if len(envelope.capsule) > MAX_CAPSULE_BYTES:
            return _invalid("the reply permit is too long")
        if len(envelope.behalf) > MAX_CAPSULE_BYTES:
            return _invalid("the proof of who asked is too long")
        if envelope.behalf and transit.is_reply:
            return _invalid("a reply is sent on nobody's behalf")
        headers = envelope.headers
        if headers and (
            len(headers) > MAX_HEADERS
            or any(len(name) + len(value) > MAX_HEADER_LENGTH for name, value in headers.items())
        ):
            return _invalid(f"more than {MAX_HEADERS} headers, or one longer than {MAX_HEADER_LENGTH}")
        if headers and BEHALF_HEADER in headers:
            return Verdict(
                Decision.UNAUTHENTICATED,
                f"Authentication failed: only a gateway says {BEHALF_HEADER}, by the proof of who asked",
                SENDER_MISMATCH,
            )
        if headers and any(headers.get(name, transit.sender) != transit.sender for name in SENDER_HEADERS):
            return Verdict(
                Decision.UNAUTHENTICATED,
                f"Authentication failed: a header names another sender than {transit.sender}, whose key it is",
                SENDER_MISMATCH,
            )
        return None

    def _payload_verdict(self, result: Parsed | InvalidPayload) -> Verdict:
        if not isinstance(result, InvalidPayload):
            is_object = isinstance(result[0], dict)
            return _invalid(
                "the payload is too long once its numbers are written out"
                if is_object
                else "the payload is not an object"
            )
        if "size" in result.details:
            return _invalid(
                f"the payload has {result.details['size']:,} bytes; at most {self._max_payload_bytes:,} are taken"
            )
        # A text of the payload must not get into the audit, not even the name of a key.
        return _invalid("an object has the same key twice" if "key" in result.details else result.message)


def _invalid(reason: str) -> Verdict:
    return Verdict(Decision.INVALID, reason)
