"""Bearer tokens where a proxy ends TLS (S4, S37): ours, for one agent, for a while, and nothing else."""

import asyncio
import contextlib
import ssl
from base64 import urlsafe_b64encode
from datetime import timedelta

import grpc
import pytest
from support.serving import serving
from support.systems import live_system
from support.waiting import until

from mas_core.agent.agent import Agent
from mas_core.errors import ConfigurationError, MasError, TokenExpired, TokenInvalid, UsageError
from mas_core.model.policy import RevokedCertificate
from mas_core.ops import agents
from mas_core.ops.bearer_tokens import issue_bearer_token
from mas_core.protocol.faults import error_of
from mas_core.protocol.frames_pb2 import Answer, Call, Error, Hello
from mas_core.remote.exchange import ERROR_METADATA, METHOD, Exchange
from mas_core.security.bearer_tokens import issue_bearer, read_bearer
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.server.bearer_listener import is_local
from mas_core.settings.tls_files import BearerFile

HOUR = timedelta(hours=1)
NOW = 1_795_000_000_000


@pytest.fixture
async def system(server_url):
    """alice may talk to bob."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        yield opened


@pytest.fixture
async def server(system):
    """In front of it, with a door for a proxy."""
    opening = serving(system.system, system.folder / "certs", bearer_address="127.0.0.1:0")
    async with opening as opened:
        yield opened


async def answer_to(server, *bearers):
    """What a call with these bearer tokens comes to at the door for the proxy: the agent, or the error."""
    async with grpc.aio.insecure_channel(server.server.bearer_address) as channel:
        method = channel.stream_stream(
            METHOD, request_serializer=Call.SerializeToString, response_deserializer=Answer.FromString
        )
        stream = method(metadata=[("authorization", f"Bearer {text}") for text in bearers])
        try:
            await stream.wait_for_connection()
            await stream.write(Call(id=1, hello=Hello()))
            agent_id = (await stream.read()).welcome.agent_id
            stream.cancel()
            return agent_id
        except grpc.aio.AioRpcError as error:
            told = dict(error.trailing_metadata() or ())
            return error_of(Error.FromString(told[ERROR_METADATA]))


def b64(data):
    """As in a JSON Web Token."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def forgeries(system):
    """What is no bearer token of alice at this system."""
    keys, namespace = system.keys, system.store.namespace
    good = issue_bearer(keys, "alice", namespace, now_ms=NOW * 2, lifetime=HOUR)
    signed, _, mac = good.rpartition(".")
    body = signed.removeprefix("masb_")
    claims = b'{"id":"1","agent":"alice","system":"%s","ends":99999999999999}' % namespace.encode()
    return {
        "nothing": "",
        "no MAC": signed + ".",
        "none as the algorithm": b64(b'{"alg":"none"}') + f".{b64(claims)}.",
        "its own words under the MAC of others": f"masb_{b64(claims)}.{mac}",
        "another key": issue_bearer(GatewayKeys.generate(), "alice", namespace, now_ms=NOW * 2, lifetime=HOUR),
        "another system": issue_bearer(keys, "alice", "elsewhere", now_ms=NOW * 2, lifetime=HOUR),
        "cut": good[:-1],
        "longer": good + "A",
        "padded": good + "=",
        "a blank within": good[:20] + " " + good[20:],
        "a word of the seal": f"masb_{body}.{b64(keys.mac('policy', signed.encode()))}",
        "the token of the agent": system.tokens["alice"],
        "very long": "masb_" + "A" * 5_000,
    }  # fmt: skip


async def test_s37_bearer_tokens_that_are_not_ours_are_refused_and_recorded(system, server):
    """Unsigned, of another key or system, changed, ended, several, none; the right one is let in."""
    good = (await issue_bearer_token(system.system, "alice", show=True)).text
    ended = issue_bearer(system.keys, "alice", system.store.namespace, now_ms=NOW // 2, lifetime=HOUR)
    assert await answer_to(server, good) == "alice"

    for what, text in forgeries(system).items():
        assert (await answer_to(server, text)).code == "token_invalid", what
    assert (await answer_to(server, good, good)).code == "token_invalid"
    assert (await answer_to(server, ended)).code == "token_expired"
    assert (await answer_to(server)).code == "token_invalid"

    async def recorded():
        found = await system.audit(kind="security", type="bearer.refused")
        return len(found) == len(forgeries(system)) + 3 and found

    records = await until(recorded)
    assert {record.details["facts"]["reason"] for record in records} == {"token_invalid", "token_expired"}


async def test_s4_a_certificate_beside_a_bearer_token_is_of_the_same_agent(system, server):
    """And at the port for certificates no token does without one; where tokens are off they count for nothing."""
    good = (await issue_bearer_token(system.system, "alice", show=True)).text

    async def said(of, files, bearer):
        pem = files.cert_path.read_bytes() if files else b""
        trusted = of.certificates.ca_path.read_bytes()
        exchange = Exchange(f"localhost:{of.server.port}", lambda: (pem, pem, trusted), lambda: bearer)
        try:
            return (await exchange.call(Call(hello=Hello()))).welcome.agent_id
        except MasError as error:
            return error.code
        finally:
            await exchange.close()

    certificates = server.certificates
    assert await said(server, certificates.agent("alice"), good) == "alice"
    assert await said(server, certificates.agent("bob"), good) == "token_invalid"
    assert await said(server, None, good) == "store_unreachable"
    async with serving(system.system, system.folder / "others") as without:
        assert await said(without, without.certificates.agent("bob"), good) == "bob"
        assert without.server.bearer_address is None


async def test_s5_bearer_tokens_end_with_their_time_their_agent_and_when_revoked(system, server):
    """While connected, and when they come again."""
    await system.register("carol")
    tokens = {
        "token_expired": await issue_bearer_token(system.system, "bob", show=True, lifetime=1.5),
        "agent_not_found": await issue_bearer_token(system.system, "carol", show=True),
        "token_revoked": await issue_bearer_token(system.system, "alice", show=True),
    }
    async with proxy_in_front(server) as port:
        trusted = server.certificates.ca_path.read_bytes()
        exchanges = {
            reason: Exchange(f"localhost:{port}", lambda: (b"", b"", trusted), lambda text=made.text: text)
            for reason, made in tokens.items()
        }
        for exchange in exchanges.values():
            await exchange.call(Call(hello=Hello()))
        await agents.deregister(system.system, "carol")
        entry = tokens["token_revoked"].id
        await system.change_policy(revoked_certificates={entry: RevokedCertificate("agent alice")})
        for reason, exchange in exchanges.items():
            async with asyncio.timeout(10):
                while (code := await code_of(exchange)) == "":
                    await asyncio.sleep(0.05)
            assert code == reason
            await exchange.close()
    for reason, made in tokens.items():
        assert (await answer_to(server, made.text)).code == reason


async def code_of(exchange):
    """What becomes of one more call."""
    try:
        await exchange.call(Call(hello=Hello()))
    except MasError as error:
        return error.code
    return ""


async def test_an_agent_behind_a_proxy_works_with_a_token_file(system, server):
    """It sends and receives with no certificate of its own; a renewed file is taken over; the file is private."""
    issued = await issue_bearer_token(system.system, "alice", out=system.folder / "alice.bearer")
    assert issued.path.stat().st_mode & 0o777 == 0o600
    bob = await system.run("bob")
    async with proxy_in_front(server) as port:
        alice = Agent(
            "alice",
            redis_url=f"grpcs://localhost:{port}",
            token=system.tokens["alice"],
            bearer=BearerFile(issued.path, server.certificates.ca_path),
        )
        async with alice:
            await alice.send("bob", "x", {"n": 1})
            await until(lambda: bob.numbers == [1])


@contextlib.asynccontextmanager
async def proxy_in_front(server):
    """What ends TLS as a proxy of others would; the port."""
    shown = server.certificates.folder / "server-localhost.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown)
    context.set_alpn_protocols(["h2"])
    host, _, port = server.server.bearer_address.rpartition(":")
    tasks = set()

    async def carry(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def take(reader, writer):
        tasks.add(asyncio.current_task())
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
        finally:
            for each in (writer, far_writer):
                each.transport.abort()

    listening = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("address", "is_fine"),
    [
        ("127.0.0.1:0", True),
        ("127.9.9.9:1", True),
        ("[::1]:7444", True),
        ("unix:/run/mas/bearer.sock", True),
        ("0.0.0.0:7444", False),
        ("[::]:7444", False),
        ("localhost:7444", False),
        ("10.0.0.1:7444", False),
        ("example.com:7444", False),
        ("unix:bearer.sock", False),
        ("unix-abstract:x", False),
        ("dns:127.0.0.1:1", False),
        ("", False),
    ],
)
def test_s37_bearer_tokens_come_from_this_machine_only(address, is_fine):
    """Names may lead elsewhere tomorrow, so only addresses count."""
    assert is_local(address) == is_fine


async def test_s37_a_server_does_not_start_where_tokens_would_come_from_elsewhere(system):
    """It says where they may come from; a socket of the file system is for its owner."""
    with pytest.raises(ConfigurationError, match="open to other machines"):
        async with serving(system.system, system.folder / "certs", bearer_address="0.0.0.0:0"):
            pass
    path = system.folder / "b.sock"
    async with serving(system.system, system.folder / "certs", bearer_address=f"unix:{path}") as opened:
        assert path.stat().st_mode & 0o777 == 0o600
        good = (await issue_bearer_token(system.system, "alice", show=True)).text
        assert await answer_to(opened, good) == "alice"


def test_what_a_token_says_counts_for_as_long_as_it_says():
    """To the millisecond, and for a second to 30 days."""
    keys = GatewayKeys.generate()
    text = issue_bearer(keys, "alice", "mas", now_ms=NOW, lifetime=HOUR)

    assert read_bearer(keys, text, "mas", now_ms=NOW + 3_599_999).agent == "alice"
    with pytest.raises(TokenExpired):
        read_bearer(keys, text, "mas", now_ms=NOW + 3_600_000)
    with pytest.raises(TokenInvalid):
        read_bearer(keys, text, "other", now_ms=NOW)
    for lifetime in (timedelta(0), timedelta(days=31), -HOUR):
        with pytest.raises(UsageError):
            issue_bearer(keys, "alice", "mas", now_ms=NOW, lifetime=lifetime)
