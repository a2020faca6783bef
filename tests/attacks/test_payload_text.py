"""Payloads that are too large or that no two readers agree about (S19, S20)."""

import contextlib
import os
from pathlib import Path

import msgspec
import pytest
from support.systems import live_system
from support.waiting import until

from mas_core.errors import InvalidPayload
from mas_core.model.frame import FRAME_VERSION, FrameHeader, Place
from mas_core.model.json_text import MAX_BYTES, parse_json
from mas_core.model.message import Envelope
from mas_core.security.seals import seal_for

VECTORS = Path(__file__).parents[1] / "vectors" / "json"
DECLARED = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}
"""RFC 8259 allows a key twice; two readers may then see different values, so it is refused here."""

LIMIT = 1_000_000


def of_kind(kind):
    return sorted(path.name for path in VECTORS.glob(f"{kind}_*.json"))


def test_s20_the_whole_suite_is_there():
    """95 texts to accept, 188 to refuse, 35 that are up to the reader."""
    assert [len(of_kind(kind)) for kind in "yni"] == [95, 188, 35]


@pytest.mark.parametrize("name", of_kind("y"))
def test_s20_valid_json_of_the_suite_is_accepted(name):
    """All but the declared cases, which are refused for the reason that is declared."""
    text = (VECTORS / name).read_bytes()

    if name in DECLARED:
        with pytest.raises(InvalidPayload, match="twice"):
            parse_json(text)
    else:
        parse_json(text)


@pytest.mark.parametrize("name", of_kind("n"))
def test_s20_invalid_json_of_the_suite_is_refused(name):
    """As an error of the payload, never as another exception."""
    with pytest.raises(InvalidPayload):
        parse_json((VECTORS / name).read_bytes())


@pytest.mark.parametrize("name", of_kind("i"))
def test_s20_what_is_up_to_the_reader_does_not_break_it(name):
    """Accepted or refused."""
    with contextlib.suppress(InvalidPayload):
        parse_json((VECTORS / name).read_bytes())


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (b'{"a":NaN}', 5),
        (b'{"a":"\xff"}', 6),
        (b"\xef\xbb\xbf{}", 0),
        ("{}".encode("utf-16"), 0),
        (b'{"a":1} x', 9),
    ],
)
def test_s20_a_refusal_says_where(text, position):
    """The byte at which the text stops being JSON."""
    with pytest.raises(InvalidPayload) as caught:
        parse_json(text)

    assert caught.value.details["position"] == position


def test_s20_a_million_keys_are_refused_by_their_size():
    """Before a single one is read."""
    text = b"{" + b",".join(b'"%d":0' % number for number in range(1_000_000)) + b"}"

    with pytest.raises(InvalidPayload, match=f"at most {MAX_BYTES}"):
        parse_json(text)


async def declared(client, sizes):
    """Add a sealed frame whose body declares sizes that it does not have."""
    link = client._link
    session = "00000000000000ff"
    header = FrameHeader(
        FRAME_VERSION, link.namespace, 0, Place.INGRESS, "normal", link.agent_id, link.instance, session,
        link.keys.key_id, link.keys.gateway_key_id, 1, 1, client.now_ms(),
    )  # fmt: skip
    frame = seal_for([link.sending_key(session)], header, sizes)
    await client._agent_store.add_frames([(0, "normal", frame)])


def resident_kb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


@pytest.mark.slow
async def test_s19_what_is_too_large_is_refused_before_it_is_parsed_and_fills_no_memory(server_url):
    """1 MB and a byte, again and again, and 1 GB that is only declared: refused; memory grows by < 2 limits."""
    async with live_system(
        server_url, agents=["alice", "bob"], allow=[("alice", "bob")], gateways=0
    ) as system:
        gateway = await system.spawn_gateway()
        alice = await system.client("alice")

        async def flood():
            for number in range(10):
                envelope = Envelope(
                    f"m{os.urandom(8).hex()}{number}", "bob", "x", b"{" * (LIMIT + 1), alice.now_ms()
                )
                receipt = await alice._outbox.submit(envelope, timeout_s=20)
                # A parser would complain about the brackets.
                assert receipt.decision == "invalid"
                assert receipt.reason == "the payload has 1,000,001 bytes; at most 1,000,000 are taken"

        await flood()
        before = resident_kb(gateway.pid)
        await flood()
        # An array of one envelope with a payload of which a billion bytes are declared and three are there.
        await declared(alice, b"\x91\x9b\xa1m\xa3bob\xa1x\xc6\x3b\x9a\xca\x00abc")
        await until(lambda: system.audit(decision="invalid", reason="the frame holds no readable messages"))

        assert resident_kb(gateway.pid) - before < 2 * LIMIT / 1000
        with pytest.raises(InvalidPayload, match="at most"):
            await alice.send("bob", "x", {"text": "x" * 10_000_000})
        assert (await alice.send("bob", "x", {})).is_delivered


def test_s19_a_declared_gigabyte_is_no_message():
    """The decoder trusts no length that stands in a message."""
    with pytest.raises(msgspec.DecodeError):
        msgspec.msgpack.decode(b"\x91\xc6\x3b\x9a\xca\x00abc", type=list[bytes])
