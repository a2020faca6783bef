"""What is inside: malformed payloads, sensitive data, and that no trace of it is left on the server."""

import re

import msgspec
import pytest
from support.servers import embedded_server
from support.systems import live_system
from support.waiting import until

from mas_core.errors import InvalidPayload, PayloadBlocked
from mas_core.model.message import Envelope

CARD = "4111 1111 1111 1111"
OTHER_CARDS = ("5500-0055-5555-5559", "378282246310005")


@pytest.fixture
async def system(server_url):
    """alice may talk to bob."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        yield opened


async def raw(client, data, **fields):
    """Send these bytes as payload, past all checks of the SDK; the receipt."""
    values = {"id": "01J0000000000000000000RAW1", "target": "bob", "type": "x", **fields}
    return await client._outbox.submit(Envelope(data=data, sent_at=client.now_ms(), **values))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"{", "ends in the middle"),
        (b"[1]", "not an object"),
        (b'"text"', "not an object"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"x":{"a":1,"\\u0061":2}}', "twice"),
        (b'{"a":NaN}', "not JSON"),
        (b'{"a":-Infinity}', "not JSON"),
        (b'{"a":1e400}', "not JSON"),
        (b'{"a":"\xff\xfe"}', "not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "UTF-16"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'{"a":"\\ud800"}', "surrogate|not JSON"),
        (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "nests deeper than 64"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests deeper than 64"),
        (b'{"a":' + b"1" * 5_000 + b"}", "digits|integer"),
        (b'{"a":1} {"b":2}', "not JSON"),
        (b'{"a":"' + b"x" * 1_000_000 + b'"}', "at most 1,000,000"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value.replace(" ", "-")[:30],
)
async def test_s20_payloads_that_are_not_strict_json_are_refused_and_recorded(system, data, reason):
    """With what is wrong, and without a harm to the next message (S19, S20)."""
    bob = await system.run("bob")
    alice = await system.client("alice")

    receipt = await raw(alice, data)
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)

    assert receipt.decision == "invalid"
    assert re.search(reason, receipt.reason)
    assert bob.numbers == [1]
    (record,) = await system.audit(decision="invalid")
    assert (record.sender, record.size, record.reason) == ("alice", len(data), receipt.reason)
    assert await system.audit_holds()


@pytest.mark.parametrize("depth", [1, 63])
async def test_the_deepest_payload_that_is_allowed_arrives(system, depth):
    """64 levels, the object itself among them."""
    bob = await system.run("bob")
    alice = await system.client("alice")

    assert (await raw(alice, b'{"a":' + b"[" * depth + b"]" * depth + b"}")).is_delivered
    await until(lambda: bob.messages)


async def test_what_is_delivered_is_what_was_scanned(system):
    """Written anew from the parsed value: no two readers can see different things in it."""
    bob = await system.run("bob")
    alice = await system.client("alice")

    await raw(alice, b' { "a" : 1.0 ,\n "b" : "\\u00e4" , "big": 12345678901234567890123 } ')
    await until(lambda: bob.messages)

    assert bob.messages[0].data == {"a": 1.0, "b": "ä", "big": 12345678901234567890123}


@pytest.mark.parametrize(
    "fields",
    [
        {"target": "a:b"}, {"target": "bob\n"}, {"target": "*"}, {"type": "a b"}, {"type": "x:y"}, {"type": ""},
        {"id": ""}, {"id": "a\nb"}, {"id": "x" * 200}, {"priority": 11}, {"priority": -1}, {"ttl_ms": 0},
        {"ttl_ms": -5}, {"headers": {"a": "x" * 2000}}, {"headers": {str(n): "x" for n in range(40)}},
        {"capsule": b"x" * 2000},
    ],
    ids=str,
)  # fmt: skip
async def test_envelopes_that_no_sdk_makes_are_refused(system, fields):
    """Ids, types, priorities, times, headers: each has its bounds (S26)."""
    bob = await system.run("bob")
    alice = await system.client("alice")

    receipt = await raw(alice, b"{}", **fields)
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)

    assert receipt.decision == "invalid"
    assert bob.numbers == [1]
    assert await system.audit_holds()


@pytest.mark.parametrize("size", [1_100_000, 3_000_000, 12_000_000])
async def test_a_payload_over_the_limit_is_refused_and_the_sender_goes_on(system, size):
    """Also when it is more than the server itself takes."""
    bob = await system.run("bob")
    alice = await system.run("alice")

    with pytest.raises(InvalidPayload, match="at most"):
        await alice.send("bob", "x", {"text": "x" * size})
    await alice.send("bob", "x", {"n": 1})
    await until(lambda: bob.messages)

    assert bob.numbers == [1]


async def test_a_large_payload_within_the_limit_arrives(system):
    """Alone in its frame."""
    bob = await system.run("bob")
    alice = await system.run("alice")

    await alice.send("bob", "x", {"text": "x" * 990_000})
    await until(lambda: bob.messages)

    assert len(bob.messages[0].data["text"]) == 990_000


async def test_a_smaller_limit_can_be_set(server_url):
    """By the settings of the gateway."""
    async with live_system(
        server_url, agents=["alice", "bob"], allow=[("alice", "bob")], max_payload_bytes=2_000
    ) as system:
        alice = await system.run("alice")
        await alice.send("bob", "x", {"text": "x" * 1_900})
        with pytest.raises(InvalidPayload, match="at most 2,000"):
            await alice.send("bob", "x", {"text": "x" * 2_100})


async def test_a_card_is_blocked_unless_the_policy_says_otherwise(system):
    """Refused with kind and place, never with the text; the audit says the same (P4)."""
    bob = await system.run("bob")
    alice = await system.run("alice")

    with pytest.raises(PayloadBlocked) as caught:
        await alice.send("bob", "pay", {"order": 7, "card": CARD})

    (finding,) = caught.value.details["findings"]
    assert (finding["rule"], finding["category"], finding["path"]) == ("card", "pci", "/card")
    (record,) = await system.audit(decision="blocked")
    assert record.findings[0].path == "/card"
    assert "1111" not in f"{caught.value} {caught.value.details} {record}"
    assert bob.messages == []


async def test_redaction_takes_out_the_card_and_lets_the_rest_through(system):
    """The receiver gets what was scanned clean."""
    await system.change_policy(dlp_actions={"card": "redact"})
    bob = await system.run("bob")
    alice = await system.run("alice")

    receipt = await alice.send("bob", "pay", {"order": 7, "card": f"my card is {CARD}, thanks"})
    await until(lambda: bob.messages)

    assert receipt.decision == "redacted"
    assert bob.messages[0].data["order"] == 7
    text = bob.messages[0].data["card"]
    assert text.startswith("my card is ")
    assert re.search(r"\d{5}", text.replace(" ", "")) is None


async def test_an_alert_lets_the_payload_through_and_records_it(system):
    """Unchanged, with the finding in receipt and audit."""
    await system.change_policy(dlp_actions={"card": "alert"})
    bob = await system.run("bob")
    alice = await system.run("alice")

    receipt = await alice.send("bob", "pay", {"card": CARD})
    await until(lambda: bob.messages)

    assert receipt.decision == "alert"
    assert receipt.findings[0].rule == "card"
    assert bob.messages[0].data == {"card": CARD}
    assert (await system.audit(decision="alert"))[0].findings


async def test_replies_are_scanned_too(system):
    """Whoever answers passes the same stages."""

    class Leaking(type(system.agent("bob"))):
        async def on_message(self, message):
            return {"card": CARD}

    await system.run("bob", Leaking)
    alice = await system.run("alice")

    with pytest.raises(Exception, match=r"did not answer|payload"):
        await alice.request("bob", "ask", {}, timeout=1)
    assert [record.sender for record in await system.audit(decision="blocked")] == ["bob"]


async def test_scanning_can_be_switched_off_by_the_policy(system):
    """P12."""
    document = await system.system.policy.load()
    await system.change_policy(features=type(document.features)(dlp=False))
    alice = await system.run("alice")

    assert (await alice.send("bob", "pay", {"card": CARD})).decision == "allowed"


async def everything_on(server, client):
    """Every byte that the server holds: values as it reads and as it dumps them, and its files."""
    pieces = []
    for key in await client.call("KEYS", "*"):
        pieces.append(key)
        pieces.append(await client.call("DUMP", key))
        kind = await client.call("TYPE", key)
        reading = {
            b"hash": ("HGETALL", key), b"stream": ("XRANGE", key, "-", "+"), b"zset": ("ZRANGE", key, 0, -1),
            b"set": ("SMEMBERS", key), b"string": ("GET", key), b"list": ("LRANGE", key, 0, -1),
        }[kind]  # fmt: skip
        pieces.append(repr(await client.call(*reading)).encode())
    for path in server.server_dir.rglob("*"):
        if path.is_file():
            pieces.append(path.read_bytes())
    return b"\n".join(pieces)


async def test_s17_no_digits_of_a_card_are_anywhere_on_the_server_or_in_its_files():
    """Blocked, redacted, retried, dead, at rest or waiting in the ingress: no run of five of its digits (S17)."""
    async with (
        embedded_server("durable") as server,
        live_system(server.url, agents=["alice", "bob"], allow=[("alice", "bob")]) as system,
    ):
        alice = await system.client("alice")
        with pytest.raises(PayloadBlocked):
            await alice.send("bob", "pay", {"card": CARD})
        await system.change_policy(dlp_actions={"card": "redact"})
        await alice.send("bob", "pay", {"card": OTHER_CARDS[0]})
        await system.change_policy(dlp_actions={"card": "alert"})

        class Failing(type(system.agent("bob"))):
            async def on_message(self, message):
                raise RuntimeError(OTHER_CARDS[1])

        await system.run("bob", Failing)
        await alice.send("bob", "pay", {"card": OTHER_CARDS[1]})
        await until(lambda: system.audit(kind="delivery.retry"))
        await system.gateways[0].stop()
        waiting = alice._outbox.submit_all(
            [Envelope("w1", "bob", "pay", msgspec.json.encode({"card": CARD}), alice.now_ms())]
        )

        async def is_waiting():
            return await system.store.records.waiting_frames()

        await until(is_waiting)
        # What is packed could hide digits from this test.
        await system.store.connection.call("CONFIG", "SET", "rdbcompression", "no")
        found = await everything_on(server, system.store.connection)

        waiting.cancel()
        assert system.store.namespace.encode() in found
        # Hashes, names of sessions, times of day and of a processor hold any five digits by chance, but never eight
        # of a card.
        rest = re.sub(rb'[0-9a-f]{16,}|1[0-9]{12}|"cpu_s":[0-9]+\.[0-9]+', b"", found)
        for card in (CARD, *OTHER_CARDS):
            digits = re.sub(r"\D", "", card)
            assert card.encode() not in found
            assert not any(digits[start : start + 8].encode() in found for start in range(len(digits) - 7))
            runs = b"|".join(digits[start : start + 5].encode() for start in range(len(digits) - 4))
            assert [match[0] for match in re.finditer(rb".{0,20}(?:" + runs + rb").{0,20}", rest)] == []
        for token in system.tokens.values():
            assert token.encode() not in found
            assert token.removeprefix("mas_").encode() not in found
