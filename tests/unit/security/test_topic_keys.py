"""Keys of topics open what was sealed under them, in its own place, and nothing else."""

import msgspec
import pytest

from mas_core.errors import DecryptionFailed
from mas_core.model.frame import Frame
from mas_core.security.topic_keys import TopicKey, new_topic_key, read_topic_header

SECRET = new_topic_key()


def key(secret=SECRET, **changed):
    """A key of the topic `news`."""
    return TopicKey(secret, **{"namespace": "mas", "topic": "news", "generation": 1, **changed})


def sealed():
    """Two messages, of which the last has the number 7."""
    return key().seal(b"body", last=7, count=2, now=1)


def test_what_was_sealed_opens_under_the_same_key_only():
    """Not under another one, and not changed in any bit of header or body."""
    frame = sealed()
    assert key().open(frame) == b"body"
    with pytest.raises(DecryptionFailed):
        key(new_topic_key()).open(frame)
    for part in (0, 1):
        for at in range(len(msgspec.structs.astuple(frame)[part])):
            parts = list(msgspec.structs.astuple(frame))
            parts[part] = parts[part][:at] + bytes([parts[part][at] ^ 1]) + parts[part][at + 1 :]
            with pytest.raises(DecryptionFailed):
                key().open(Frame(*parts))


@pytest.mark.parametrize(
    "place",
    [
        {"namespace": "other", "topic": "news", "entry": "7-0"},
        {"namespace": "mas", "topic": "olds", "entry": "7-0"},
        {"namespace": "mas", "topic": "news", "entry": "8-0"},
        {"namespace": "mas", "topic": "news", "entry": "7-1"},
    ],
)
def test_a_copy_elsewhere_is_no_frame_of_that_place(place):
    """Namespace, topic and number are bound to the seal, and compared with where it lies."""
    assert read_topic_header(sealed(), namespace="mas", topic="news", entry="7-0").count == 2
    with pytest.raises(DecryptionFailed):
        read_topic_header(sealed(), **place)


@pytest.mark.parametrize("header", [b"", b"\xc1", msgspec.msgpack.encode(["mas"] * 3), b"\x97" + b"\xff" * 7])
def test_hostile_headers_are_refused(header):
    """Whatever they hold."""
    with pytest.raises(DecryptionFailed):
        read_topic_header(Frame(header, b""), namespace="mas", topic="news", entry="7-0")


def test_no_two_frames_share_a_nonce():
    """The same message sealed twice looks different."""
    assert sealed().body != sealed().body
