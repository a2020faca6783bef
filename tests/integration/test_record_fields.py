"""What records of messages hold beside the decision: trace, waiting, stages, fingerprints of fields."""

from __future__ import annotations

import asyncio
import contextlib
import json

import msgspec
from support.systems import live_system
from support.waiting import until

from mas_core.audit.chain import Chain, decode_record, record_hash
from mas_core.audit.verify import ChainVerifier
from mas_core.errors import PayloadBlocked
from mas_core.ops import fingerprints

PAIR = [("alice", "bob")]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def held(running, value, path=None, identifier=""):
    found = fingerprints.matching(
        running.system, json.dumps(value).encode(), path=path, identifier=identifier
    )
    return [(item.record.message_id, place) async for item, place in found]


async def test_a_record_names_trace_waiting_stages_and_key(server_url):
    """traceparent gives the trace, a header that is none gives nothing; the key of the fingerprint is named."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR) as running:
        await running.run("bob")
        alice = await running.client("alice")
        await alice.send("bob", "x", {}, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
        await alice.send("bob", "x", {}, headers={"traceparent": "\x1b[31mnone"})
        first, second = await running.audit(kind="message")
        assert (first.trace_id, second.trace_id) == (TRACE, "")
        assert first.hmac_key == running.keys.fingerprint_key_id
        assert {"form", "rate"} & set(first.stages_us)
        assert all(isinstance(took, int) and took >= 0 for took in first.stages_us.values())
        assert await running.audit_holds()


async def test_waiting_in_the_ingress_is_recorded(server_url):
    """A message that lay there before a gateway came says for how long."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR, gateways=0) as running:
        alice = await running.client("alice")
        task = asyncio.ensure_future(alice.send("bob", "x", {}))

        async def waits() -> bool:
            return await running.store.records.waiting_frames() > 0

        await until(waits)
        sent = await running.store.connection.time_ms()
        await until(lambda: _later(running, sent + 30))
        await running.start_gateway()
        await task
        (record,) = await running.audit(kind="message")
        assert record.waited_ms >= 30


async def _later(running, moment):
    return await running.store.connection.time_ms() >= moment


async def test_fields_have_fingerprints_where_the_policy_says_so(server_url):
    """The most specific pattern counts; the holder of the key finds a value at its place, and nothing else."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR) as running:
        await running.change_policy(audit_fingerprints={"invoice.*": "fields", "invoice.open": "payload"})
        await running.run("bob")
        alice = await running.client("alice")
        payload = {"customer": {"id": "c-17"}, "amount": 12.0, "lines": [{"n": 1}, {"n": 2}]}
        paid = await alice.send("bob", "invoice.paid", payload)
        await alice.send("bob", "invoice.open", payload)
        await alice.send("bob", "note", payload)
        records = {item.type: item for item in await running.audit(kind="message")}
        assert set(records["invoice.paid"].fingerprints) == {
            "/customer/id", "/amount", "/lines/0/n", "/lines/1/n",
        }  # fmt: skip
        assert records["invoice.open"].fingerprints == records["note"].fingerprints == {}
        assert await held(running, "c-17", "/customer/id") == [(paid.message_id, "/customer/id")]
        assert await held(running, 12, "/amount") == [(paid.message_id, "/amount")]
        assert await held(running, 2, "*", paid.message_id) == [(paid.message_id, "/lines/1/n")]
        assert await held(running, "c-18", "/customer/id") == []
        assert await held(running, "c-17", "/amount") == []
        assert await running.audit_holds()


async def test_fingerprints_are_of_what_arrived_and_hold_no_text(server_url):
    """Of a blocked message too; its text is in no record."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR) as running:
        await running.change_policy(audit_fingerprints={"*": "fields"}, dlp_actions={"ssn": "block"})
        alice = await running.client("alice")
        with contextlib.suppress(PayloadBlocked):
            await alice.send("bob", "x", {"ssn": "123-45-6789"})
        (record,) = await running.audit(kind="message")
        assert record.decision == "blocked"
        assert b"6789" not in msgspec.json.encode(record)
        assert await held(running, "123-45-6789", "/ssn") == [(record.message_id, "/ssn")]


async def test_a_whole_payload_is_found_by_its_bytes(server_url):
    """Without a policy for it."""
    async with live_system(server_url, agents=["alice", "bob"], allow=PAIR) as running:
        await running.run("bob")
        alice = await running.client("alice")
        receipt = await alice.send("bob", "x", {"a": 1})
        found = fingerprints.matching(running.system, b'{"a":1}')
        assert [item.record.message_id async for item, _ in found] == [receipt.message_id]


def test_records_of_before_read_and_verify():
    """A chain whose records have none of the new fields is read, verified and gone on with."""
    old = (
        b'{"seq":1,"time":5,"decision":"allowed","sender":"alice","size":2,"payload_hmac":"aa","gateway":"g",'
        b'"prev":"' + b"0" * 64 + b'"}'
    )
    record = decode_record(old)
    assert (record.waited_ms, record.fingerprints, record.hmac_key, record.stages_us) == (0, {}, "", {})
    chain = Chain(1, record_hash(old))
    new = chain.append(record)
    verifier = ChainVerifier()
    assert verifier.feed(1, old)
    assert verifier.feed(2, new)
    assert verifier.finish(chain.head, 2).ok
