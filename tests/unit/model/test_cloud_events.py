"""CloudEvents 1.0 in JSON, and what an event may be."""

import json

import pytest

from mas_core.errors import EventInvalid
from mas_core.model.cloud_events import decode_cloudevent, encode_cloudevent, from_cloudevent, to_cloudevent
from mas_core.model.event import Event
from mas_core.model.message import AgentMessage

SPECIFIED = {
    "specversion": "1.0",
    "type": "com.github.pull_request.opened",
    "source": "https://github.com/cloudevents/spec/pull",
    "subject": "123",
    "id": "A234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "text/xml",
    "data": '<much wow="xml"/>',
}
"""The example of section 3 of the specification."""


def test_an_event_looks_as_the_specification_says():
    """With all attributes that it requires; the topic is an extension."""
    event = Event("order.created", "shop", {"amount": 1}, "orders.eu", "id-1", 1_700_000_000_250)

    assert to_cloudevent(event) == {
        "specversion": "1.0",
        "id": "id-1",
        "source": "shop",
        "type": "order.created",
        "time": "2023-11-14T22:13:20.250Z",
        "topic": "orders.eu",
        "datacontenttype": "application/json",
        "data": {"amount": 1},
    }


@pytest.mark.parametrize(
    "event",
    [
        Event("a", "s"),
        Event("a", "s", {"a": [1, 2.5, None, True, "\u202e"]}, "t.x"),
        Event("a", "urn:s?*", b"\x00\xff", id="x y".replace(" ", "*")),
        Event("a", "s", "text", extensions={"subject": "1", "size": -5, "hot": True}),
        Event("a", "s", "<x/>", extensions={"datacontenttype": "text/xml"}),
        Event("a", "s", b"x", extensions={"datacontenttype": "image/png"}),
    ],
)
def test_there_and_back_nothing_changes(event):
    """Whatever its data is."""
    assert decode_cloudevent(encode_cloudevent(event)) == event


def test_the_example_of_the_specification_is_read():
    """And written as it was, with milliseconds."""
    event = from_cloudevent(SPECIFIED)

    assert (event.type, event.extensions["subject"], event.time) == (SPECIFIED["type"], "123", 1522949460000)
    assert to_cloudevent(event) == {**SPECIFIED, "time": "2018-04-05T17:31:00.000Z"}


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"source": ""},
        {"type": 5},
        {"specversion": None},
        {"specversion": "0.3"},
        {"time": "yesterday"},
        {"time": "2018-04-05T17:31:00"},
        {"time": 5},
        {"time": "1969-01-01T00:00:00Z"},
        {"data_base64": "AA=="},
        {"data": None, "data_base64": "?"},
        {"Subject": "x"},
        {"a-b": "x"},
        {"big": 1 << 31},
        {"nested": {"a": 1}},
        {"real": 1.5},
        {"type": "a.*"},
        {"type": "a b"},
        {"topic": ">"},
        {"topic": 5},
        {"id": "\x1b[2J"},
        {"source": "x" * 257},
    ],
)
def test_what_is_no_cloudevent_is_refused(change):
    """A missing attribute, a name, a time or a value that cannot be."""
    text = json.dumps({key: value for key, value in {**SPECIFIED, **change}.items() if value is not None})

    with pytest.raises(EventInvalid):
        decode_cloudevent(text.encode())


@pytest.mark.parametrize("text", [b"", b"[]", b'{"id": 1, "id": 2}', b"\xff", b"null", b"{" * 10_000])
def test_what_is_no_json_object_is_refused(text):
    """Keys twice, other bytes than UTF-8, depth."""
    with pytest.raises(EventInvalid):
        decode_cloudevent(text)


@pytest.mark.parametrize("data", [float("nan"), object(), {1: object()}])
def test_data_that_json_cannot_say_is_refused(data):
    """Before anything is written anywhere."""
    with pytest.raises(EventInvalid):
        encode_cloudevent(Event("a", "s", data))


def test_any_message_is_a_cloudevent_on_request():
    """Id, sender, type and time are those of the message, and the payload is the data."""
    message = AgentMessage(
        "shop", "ledger", "order.paid", {"sum": 3}, timestamp=1_700_000_000.0, message_id="m1"
    )

    event = message.to_cloudevent()

    assert {name: event[name] for name in ("specversion", "id", "source", "type", "data")} == {
        "specversion": "1.0", "id": "m1", "source": "shop", "type": "order.paid", "data": {"sum": 3},
    }  # fmt: skip
    assert from_cloudevent(event).time == 1_700_000_000_000
