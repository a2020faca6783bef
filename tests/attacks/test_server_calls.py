"""What an agent can do to others through a server with a certificate of its own and calls made by hand: nothing."""

import asyncio
import contextlib
import logging
import os
import random
import time

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import FieldDescriptor
from support.server_process import server_process
from support.systems import live_system

from mas_core.agent.client import Client
from mas_core.protocol.frames_pb2 import Answer, Call, Cancel, Hello, ReadInbox, WriteState
from mas_core.remote.exchange import METHOD

log = logging.getLogger(__name__)
pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKS = [field for field in Call.DESCRIPTOR.oneofs_by_name["ask"].fields if field.name != "cancel"]
INSTANCE = "0123456789abcdef"
CALLS = int(os.environ.get("MAS_CALLS", "1500"))
FLOOD = int(os.environ.get("MAS_FLOOD", "1500"))
LARGE = int(os.environ.get("MAS_LARGE", "40"))
STREAMS = int(os.environ.get("MAS_STREAMS", "100"))
"""How much there is of each; more by hand."""
TEXTS = (
    "", "0", "*", ">", "$", "+", "-", "high", "normal", "low", "released", INSTANCE, "f" * 16, "0" * 17, "alice",
    "alice:normal", "a:b", "{x}", "t0}:inbox:alice:normal", "../alice", "x\ny", "x\r\nDEL t", "news", "news.*",
    "**", "topic:news", "1-1", "0-0", "\x00", "1763769600000-0", "18446744073709551615-18446744073709551615",
    "18446744073709551616-0", "99999999999999999999-1", "-1-1", "1", "1-", "\u0661-\u0661", "ü" * 500, "a" * 10_000,
)  # fmt: skip
NUMBERS = (
    0,
    1,
    2,
    3,
    63,
    64,
    255,
    4096,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53,
    2**63 - 1,
    2**64 - 1,
    -1,
    -(2**63),
)
BYTES = (b"", b"\x00", b"{}", b"null", b"\xff" * 50, b"[" * 10_000, b"x" * 100_000)
LIMITS = {
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: (-(2**63), 2**63 - 1),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(server_url):
    """alice and bob talk, and there is a topic; mallory has a certificate like everybody."""
    async with live_system(
        server_url,
        agents=["alice", "bob", "mallory"],
        allow=[("alice", "bob"), ("bob", "alice")],
    ) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(system):
    """In front of it."""
    async with server_process(system) as opened:
        yield opened


def hostile(message, chance, depth=0):
    """Fill a message with what nobody should send."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.1:
            continue
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            for _ in range(chance.randrange(3)):
                getattr(message, field.name)[chance.choice(TEXTS)] = chance.choice(TEXTS)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            times = chance.choice((0, 1, 2, 5)) if field.is_repeated else 1
            for _ in range(times):
                inner = getattr(message, field.name)
                hostile(inner.add() if field.is_repeated else inner, chance, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(
                value_of(field, chance) for _ in range(chance.choice((0, 1, 2, 70)))
            )
        else:
            setattr(message, field.name, value_of(field, chance))
    return message


def value_of(field, chance):
    """Any value that the field can carry."""
    if field.name == "instance" and chance.random() < 0.7:
        return INSTANCE
    if field.name == "block_ms":
        return chance.choice((0, 1, 5))
    if field.type == FieldDescriptor.TYPE_STRING:
        return chance.choice(TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return chance.choice(BYTES)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return chance.random() < 0.5
    least, most = LIMITS[field.type]
    return min(max(chance.choice(NUMBERS), least), most)


def any_call(number, chance):
    """A call of any kind."""
    call = Call(id=number)
    field = chance.choice(ASKS)
    hostile(getattr(call, field.name), chance)
    getattr(call, field.name).SetInParent()
    return call


@contextlib.asynccontextmanager
async def raw_channel(server, agent_id):
    """A channel with the certificate of an agent."""
    pem = server.certificates.agent(agent_id).cert_path.read_bytes()
    trusted = server.certificates.ca_path.read_bytes()
    credentials = grpc.ssl_channel_credentials(trusted, pem, pem)
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
    async with grpc.aio.secure_channel(f"localhost:{server.port}", credentials, options=options) as channel:
        yield channel


def exchange(channel, write=Call.SerializeToString):
    """A conversation made by hand."""
    return channel.stream_stream(METHOD, request_serializer=write, response_deserializer=Answer.FromString)()


async def dump(system):
    """Everything that is stored of the system and is not mallory's own, nor what the server says of itself."""
    call = system.store.connection.call
    found, cursor = {}, 0
    while True:
        cursor, keys = await call("SCAN", cursor, "MATCH", f"{system.store.namespace}:*", "COUNT", 1000)
        for key in keys:
            passing = key.endswith((b":servers", b":gateways")) or b":limit:" in key
            if b"mallory" not in key and not passing:
                found[key] = await call("DUMP", key)
        cursor = int(cursor)
        if not cursor:
            return found


async def test_s2_hostile_calls_touch_nothing_of_others(system, server):
    """Calls of every kind with names, numbers and bytes made up: all answered, and no key of others changes."""
    async with Client(system.store, "alice", system.tokens["alice"]) as alice:
        for number in range(3):
            await alice.send("bob", "x", {"n": number})
    await system.gateways[0].stop()
    before = await dump(system)
    chance = random.Random(7)
    kinds = set()
    async with raw_channel(server, "mallory") as channel:
        stream = exchange(channel)
        for number in range(1, CALLS + 1):
            call = any_call(number, chance)
            kinds.add(call.WhichOneof("ask"))
            await stream.write(call)
            answer = await asyncio.wait_for(stream.read(), 20)
            assert answer.id == number
            assert answer.error.message != "the server could not carry out this call", call
        stream.cancel()

    assert kinds == {field.name for field in ASKS}
    after = await dump(system)
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} == set()
    assert_calm(server)


async def test_floods_of_calls_and_of_conversations_are_bounded(system, server):
    """Calls at once, cancelled ones, more conversations than may be; memory stays, others are served."""
    before = server.rss_kib()
    others = asyncio.create_task(longest_call(server, "bob"))
    async with raw_channel(server, "mallory") as channel:
        stream = exchange(channel)
        sent = asyncio.create_task(send_all(stream, (Call(id=n, hello=Hello()) for n in range(1, FLOOD + 1))))
        assert {(await stream.read()).id for _ in range(FLOOD)} == set(range(1, FLOOD + 1))
        await sent
        cancels = (Call(id=n, cancel=Cancel(call=n * 7)) for n in range(FLOOD, FLOOD + 200))
        await send_all(stream, cancels)
        large = (
            Call(id=n, write_state=WriteState(data=b"x" * 3_000_000, expected_revision=77))
            for n in range(2 * FLOOD, 2 * FLOOD + LARGE)
        )
        sent = asyncio.create_task(send_all(stream, large))
        for _ in range(LARGE):
            await stream.read()
        await sent
        stream.cancel()

        refused = await asyncio.gather(*(end_of(exchange(channel), times) for times in range(STREAMS)))
        assert set(refused) == {"ok", "rate_limited"}
    others.cancel()
    took = await others
    grown = server.rss_kib() - before
    log.warning("others waited for %.3f s at most; memory grew by %d KiB", took, grown)
    assert grown < 200 * 1024
    assert took < 5
    assert_calm(server)


async def test_messages_that_are_no_calls_end_their_conversation_only(system, server):
    """More than 4 MB, bytes that are no call, a number used twice, no call at all, a method that is not there."""
    too_large = Call(id=1, write_state=WriteState(data=b"x" * (5 << 20)))
    twice = Call(id=1, read_inbox=ReadInbox(instance=INSTANCE, normal=1, block_ms=500))
    for calls, code in (
        ([too_large], grpc.StatusCode.RESOURCE_EXHAUSTED),
        ([twice, twice], grpc.StatusCode.INVALID_ARGUMENT),
    ):
        async with raw_channel(server, "mallory") as channel:
            stream = exchange(channel)
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await send_all(stream, calls)
            with contextlib.suppress(grpc.aio.AioRpcError):
                while await stream.read() is not grpc.aio.EOF:
                    pass
            assert await stream.code() == code
    async with raw_channel(server, "mallory") as channel:
        stream = exchange(channel, bytes)
        await stream.write(b"\xff" * 50)
        assert (await stream.read()).error.code == "unimplemented"
        stream.cancel()
        unknown = channel.unary_unary("/mas.v1.Frames/Nothing")
        with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
            await unknown(b"")
    async with raw_channel(server, "mallory") as channel:
        stream = exchange(channel)
        await stream.write(Call(id=1))
        assert (await stream.read()).error.code == "unimplemented"
        stream.cancel()
    assert await longest_call(server, "bob", 3) < 5
    assert_calm(server)


async def send_all(stream, calls):
    """Write them as fast as they are taken."""
    for call in calls:
        await stream.write(call)


async def end_of(stream, number):
    """What becomes of a conversation that begins with Hello and stays."""
    try:
        await stream.write(Call(id=number + 1, hello=Hello()))
        if await stream.read() is not grpc.aio.EOF:
            await asyncio.sleep(1)
            return "ok"
        await stream.code()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        pass
    finally:
        stream.cancel()
    return "rate_limited"


async def longest_call(server, agent_id, times=1_000_000):
    """How long the longest call of another agent takes, until cancelled."""
    longest = 0.0
    async with raw_channel(server, agent_id) as channel:
        stream = exchange(channel)
        with contextlib.suppress(asyncio.CancelledError):
            for number in range(1, times + 1):
                began = time.monotonic()
                await stream.write(Call(id=number, hello=Hello()))
                assert isinstance(await stream.read(), Answer)
                longest = max(longest, time.monotonic() - began)
                await asyncio.sleep(0.01)
        stream.cancel()
    return longest


def assert_calm(server):
    """Nothing in the server has failed."""
    assert [line for line in server.log if "trace" in line or line["level"] in {"error", "critical"}] == []
