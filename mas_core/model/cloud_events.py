"""CloudEvents 1.0 in JSON, structured mode: how events look to the world outside.

Source: CloudEvents specification 1.0.2 and its JSON event format (https://github.com/cloudevents/spec).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias

import msgspec

from mas_core.base.clock import now_ms, rfc3339
from mas_core.errors import EventInvalid, InvalidPayload
from mas_core.model.event import EXTENSION_NAME, Event, Extension
from mas_core.model.json_text import encode_json, parse_json

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/cloudevents+json"
_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_OWN: Final = frozenset({*_REQUIRED, "time", "topic", "data", "data_base64"})
_Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
_INT32: Final = 1 << 31
_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, beyond which RFC 3339 has no times."""


def to_cloudevent(event: Event) -> dict[str, object]:
    """An event as a CloudEvent; the topic is the extension attribute `topic`, bytes are `data_base64`.

    Raises:
        EventInvalid: An extension has a name or a value that CloudEvents does not allow, or the time cannot be.
    """
    if not 0 <= event.time <= _LAST_MS:
        raise EventInvalid(f"{event.time} is no time of an event", hint="Unix milliseconds")
    found: dict[str, object] = {
        "specversion": SPEC_VERSION,
        "id": event.id,
        "source": event.source,
        "type": str(event.type),
        "time": rfc3339(event.time),
    }
    if event.topic:
        found["topic"] = event.topic
    for name, value in event.extensions.items():
        found[name] = _checked_extension(name, value)
    if isinstance(event.data, bytes):
        found.setdefault("datacontenttype", _BYTES)
        found["data_base64"] = base64.b64encode(event.data).decode()
    elif event.data is not None:
        found.setdefault("datacontenttype", _JSON)
        found["data"] = event.data
    return found


def from_cloudevent(given: Mapping[str, object]) -> Event:
    """The event that a CloudEvent tells of.

    Raises:
        EventInvalid: A required attribute is missing, or something in it cannot be.
    """
    for name in _REQUIRED:
        if not isinstance(given.get(name), str) or not given[name]:
            raise EventInvalid(f"a CloudEvent needs the attribute {name!r}: a text that is not empty")
    if given["specversion"] != SPEC_VERSION:
        raise EventInvalid(f"this is CloudEvents {str(given['specversion'])[:20]!r}, and only 1.0 is known")
    extensions = {
        name: _checked_extension(name, value)
        for name, value in given.items()
        if name not in _OWN and value is not None
    }
    content_type = extensions.get("datacontenttype")
    if content_type == (_JSON if given.get("data_base64") is None else _BYTES):
        del extensions["datacontenttype"]
    topic = given.get("topic") or ""
    if not isinstance(topic, str):
        raise EventInvalid("the attribute 'topic' of a CloudEvent is a text")
    return Event(
        str(given["type"]),
        str(given["source"]),
        _data(given),
        topic,
        str(given["id"]),
        _time(given.get("time")),
        extensions,
    )


def encode_cloudevent(event: Event) -> bytes:
    """An event as the JSON text of a CloudEvent.

    Raises:
        EventInvalid: It holds what JSON cannot say.
    """
    try:
        return encode_json(to_cloudevent(event))
    except InvalidPayload as error:
        raise EventInvalid(f"the event {event.id} cannot be written as JSON: {error.message}") from None


def decode_cloudevent(text: bytes) -> Event:
    """The event that the JSON text of a CloudEvent tells of; as strict as everything off the wire.

    Raises:
        EventInvalid: It is none.
    """
    try:
        found = parse_json(text)
    except InvalidPayload as error:
        raise EventInvalid(f"this is no CloudEvent: {error.message}") from None
    if not isinstance(found, dict):
        raise EventInvalid("this is no CloudEvent: it is no JSON object")
    return from_cloudevent(found)


def _checked_extension(name: str, value: object) -> Extension:
    if not EXTENSION_NAME.fullmatch(name) or name in _OWN:
        raise EventInvalid(
            f"{name[:40]!r} cannot be an attribute of a CloudEvent",
            hint="names have 1 to 20 lower-case letters and digits",
        )
    if isinstance(value, str | bool) or (isinstance(value, int) and -_INT32 <= value < _INT32):
        return value
    raise EventInvalid(
        f"the attribute {name!r} of a CloudEvent is a text, a whole number of 32 bits or a truth"
    )


def _data(given: Mapping[str, object]) -> object:
    encoded = given.get("data_base64")
    if encoded is None:
        return given.get("data")
    if given.get("data") is not None:
        raise EventInvalid("a CloudEvent has data or data_base64, not both")
    try:
        return base64.b64decode(str(encoded), validate=True)
    except (binascii.Error, ValueError):
        raise EventInvalid("the data_base64 of this CloudEvent is no base64") from None


def _time(text: object) -> int:
    if text is None:
        return now_ms()
    try:
        moment = msgspec.convert(text, _Moment)
        ms = round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise EventInvalid(f"{str(text)[:40]!r} is no time of RFC 3339") from None
    if not 0 <= ms <= _LAST_MS:
        raise EventInvalid(f"{str(text)[:40]!r} is before 1970")
    return ms
