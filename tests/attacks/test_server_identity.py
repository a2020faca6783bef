"""Who a server lets in (S37, S4, S5): agents of this system that prove it, and nobody else; refusals are recorded.

The server is a process of its own, as what gRPC tells of handshakes is read from its standard error.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
import warnings
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest
import pytest_asyncio
from cryptography import x509
from support.certificates import CLIENT, KEY, SERVER, certificate_with, uri
from support.server_process import server_process
from support.systems import live_system
from support.waiting import until

from mas_core.agent.client import Client
from mas_core.errors import Forbidden, MasError
from mas_core.model.policy import RevokedCertificate
from mas_core.ops import agents
from mas_core.protocol.frames_pb2 import Call, CreateInboxes, GetBacklog, Hello, ReadInbox
from mas_core.remote.exchange import Exchange
from mas_core.remote.system import RemoteSystem
from mas_core.security.certificates import Authority, key_pem, pem_of
from mas_core.security.spiffe import read_certificate, serial_of
from mas_core.security.tokens import new_token

log = logging.getLogger(__name__)
ALICE = "spiffe://mas/agent/alice"
FLOOD = int(os.environ.get("MAS_FLOOD", "400"))
"""Failed handshakes at once; more by hand."""
KNOWN_EVENTS = {
    "server.ready",
    "handshake.refused",
    "certificate.refused",
    "frame.refused",
    "agent.expelled",
}
HOUR = timedelta(hours=1)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(server_url):
    """alice may talk to bob."""
    async with live_system(server_url, agents=["alice", "bob"], allow=[("alice", "bob")]) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(system):
    """In front of it."""
    async with server_process(system) as opened:
        yield opened


def exchange_with(server, chain, key, port=0):
    """A caller with this chain and key, which trusts the server."""
    trusted = server.certificates.ca_path.read_bytes()
    return Exchange(f"localhost:{port or server.port}", lambda: (chain, key, trusted))


def exchange_of(server, files):
    """A caller with the certificate in these files."""
    pem = files.cert_path.read_bytes()
    return exchange_with(server, pem, pem)


async def refusal(exchange):
    """What a caller is told who says Hello."""
    try:
        with pytest.raises(MasError) as caught:
            await exchange.call(Call(hello=Hello()))
        return caught.value
    finally:
        await exchange.close()


async def recorded(system, kind, **facts):
    """The notice of this kind that says all of this."""

    async def found():
        for record in await system.audit(kind="security", type=kind):
            if facts.items() <= record.details["facts"].items():
                return record
        return None

    return await until(found)


FORGED = {
    "two URIs": ([uri(ALICE), uri("spiffe://mas/agent/bob")], "two_uri_sans"),
    "the same URI twice": ([uri(ALICE), uri(ALICE)], "two_uri_sans"),
    "another trust domain": ([uri("spiffe://evil/agent/alice")], "wrong_trust_domain"),
    "upper-case trust domain": ([uri("spiffe://MAS/agent/alice")], "wrong_trust_domain"),
    "an id with a newline": ([uri(f"{ALICE}\n")], "bad_agent_id"),
    "an escaped id": ([uri("spiffe://mas/agent/%61lice")], "bad_agent_id"),
    "a path behind the id": ([uri(f"{ALICE}/bob")], "not_an_agent"),
    "a common name alone": ([], "no_spiffe_id"),
    "a DNS name": ([x509.DNSName("alice")], "no_spiffe_id"),
    "another scheme": ([uri("https://mas/agent/alice")], "no_spiffe_id"),
    "an operator": ([uri("spiffe://mas/operator/alice")], "not_an_agent"),
    "nobody registered": ([uri("spiffe://mas/agent/nobody")], "agent_not_found"),
}


@pytest.mark.parametrize("what", FORGED)
async def test_s37_a_certificate_of_our_authority_that_names_no_agent_is_refused(system, server, what):
    """TLS takes all of these; the server does not, and the audit has the reason and the serial number."""
    names, reason = FORGED[what]
    serial = x509.random_serial_number()
    now = datetime.now(UTC)
    certificate = certificate_with(
        *names, common_name="alice", extensions=[CLIENT], start=now - HOUR, end=now + HOUR,
        serial=serial, authority=server.certificates.authority,
    )  # fmt: skip

    error = await refusal(exchange_with(server, pem_of([certificate]), key_pem(KEY)))

    assert error.code in {"certificate_refused", "agent_not_found"}
    record = await recorded(system, "certificate.refused", reason=reason, serial=format(serial, "x"))
    assert record.decision == "noticed"


def issued(authority, *names, use=CLIENT, key=KEY, start=-HOUR, end=HOUR):
    """PEM of key and certificate for alice, or for these names, from an authority or from itself."""
    now = datetime.now(UTC)
    certificate = certificate_with(
        *(names or (uri(ALICE),)), common_name=token_hex(8), extensions=[use], start=now + start, end=now + end,
        serial=x509.random_serial_number(), authority=authority,
    )  # fmt: skip
    return key_pem(key) + pem_of([certificate])


def another_authority(like):
    """An authority with the same name as `like`, and a key of its own."""
    other = Authority.create("mas", now=datetime.now(UTC))
    return Authority(like.certificate, other.key)


def shown_at_handshakes(server):
    """What TLS itself refuses: the chain in PEM, and what the audit says of it."""
    ours = server.certificates.authority
    by_alice = Authority(read_certificate(issued(ours)), KEY)
    return {
        "expired": (issued(ours, start=-2 * HOUR, end=-HOUR), "expired"),
        "not yet valid": (issued(ours, start=HOUR, end=2 * HOUR), "not_yet_valid"),
        "of another authority": (issued(Authority.create("mas", now=datetime.now(UTC))), "unknown_authority"),
        "signed by itself": (issued(None), "unknown_authority"),
        "of one with our authority's name": (issued(another_authority(ours)), "bad_signature"),
        "a server's": (issued(ours, use=SERVER), "wrong_use"),
        "signed by an agent": (issued(by_alice) + pem_of([by_alice.certificate]), "unknown_authority"),
        "none": (b"", "no_certificate"),
    }


def handshake(server, pem=b"", **options):
    """What the server says first after TLS; empty where it hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(server.certificates.ca_path)
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, value in options.items():
            context.set_ciphers(value) if name == "ciphers" else setattr(context, name, value)
    if pem:
        path = server.system.folder / "shown.pem"
        path.write_bytes(pem)
        context.load_cert_chain(path)
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    try:
        with context.wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
            return secure.recv(9)
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        plain.close()


async def test_s37_what_tls_refuses_is_recorded(system, server):
    """Expired, too early, of strangers, of impostors, for servers, none: refused in TLS, and told in the audit."""
    assert await asyncio.to_thread(handshake, server, issued(server.certificates.authority))

    for what, (pem, reason) in shown_at_handshakes(server).items():
        assert not await asyncio.to_thread(handshake, server, pem), what
        await recorded(system, "handshake.refused", reason=reason)


async def test_s37_old_protocols_and_none_are_refused(system, server):
    """TLS 1.0 and 1.1, HTTP/2 and HTTP/1.1 without TLS; TLS 1.2 is taken."""
    pem = issued(server.certificates.authority)
    weak = {"ciphers": "ALL:@SECLEVEL=0"}
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        options = {"minimum_version": version, "maximum_version": version, **weak}
        assert not await asyncio.to_thread(handshake, server, pem, **options)
        await recorded(system, "handshake.refused", reason="old_protocol")
    new = {"maximum_version": ssl.TLSVersion.TLSv1_2}
    assert await asyncio.to_thread(handshake, server, pem, **new)

    def plain(text):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(text)
            return connection.recv(100)

    for text in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        answer = await asyncio.to_thread(plain, text)
        assert b"HTTP" not in answer
    await recorded(system, "handshake.refused", reason="no_tls")


async def test_s37_who_is_there_is_sent_away_at_once(system, server):
    """A certificate that is revoked or ends while its agent is connected, and none of it comes back; recorded."""
    now = datetime.now(UTC)
    revoked = server.certificates.issue("agent", "bob")
    serial = serial_of(read_certificate(revoked.cert_path.read_bytes()))
    short = issued(server.certificates.authority, uri("spiffe://mas/agent/bob"), end=timedelta(seconds=2))

    for reason, exchange in (
        ("expired", exchange_with(server, short, short)),
        ("revoked", exchange_of(server, revoked)),
    ):
        await exchange.call(Call(create_inboxes=CreateInboxes()))
        waiting = asyncio.create_task(endless_calls(exchange))
        if reason == "revoked":
            entry = RevokedCertificate("agent bob", 0, "lost", "me@here", int(now.timestamp() * 1000))
            await system.change_policy(revoked_certificates={serial: entry})
        began = time.monotonic()
        error = await waiting
        log.warning("%s: sent away after %.2f s", reason, time.monotonic() - began)
        assert (error.code, error.details["reason"]) == ("certificate_refused", reason)
        assert (await recorded(system, "agent.expelled", reason=reason)).details["subjects"] == ["bob"]
        await exchange.close()
    assert (await refusal(exchange_of(server, revoked))).details["reason"] == "revoked"
    await recorded(system, "certificate.refused", reason="revoked", serial=serial)


async def endless_calls(exchange):
    """Wait for messages for as long as the server lets one; what it says at last."""
    while True:
        try:
            await exchange.call(
                Call(read_inbox=ReadInbox(instance="0" * 16, normal=4, block_ms=5_000)), 5_000
            )
        except MasError as error:
            return error


async def test_s5_a_deleted_agent_and_one_without_a_token_are_sent_away(system, server):
    """The next call is refused, what waits ends, and neither comes back with its certificate; recorded."""
    for agent_id, reason, act in (
        ("carol", "agent_not_found", agents.deregister),
        ("dave", "token_revoked", agents.revoke_token),
    ):
        await system.register(agent_id)
        files = server.certificates.issue("agent", agent_id)
        exchange = exchange_of(server, files)
        await exchange.call(Call(create_inboxes=CreateInboxes()))
        waiting = asyncio.create_task(endless_calls(exchange))

        await act(system.system, agent_id)
        began = time.monotonic()
        error = await waiting
        log.warning("%s: sent away after %.2f s", reason, time.monotonic() - began)

        assert error.code == reason
        assert (await recorded(system, "agent.expelled", reason=reason)).details["subjects"] == [agent_id]
        assert (await refusal(exchange)).code == reason
        await recorded(system, "certificate.refused", reason=reason)


class Unchecked(Client):
    """Asks nobody whether its token counts."""

    async def check_token(self):
        """Does not."""


async def test_s4_a_stolen_token_is_useless_without_its_certificate(system, server):
    """With another agent's certificate, with none, and the certificate without the token: all refused."""
    namespace, token = system.store.namespace, system.tokens["alice"]
    files = server.certificates.issue("agent", "alice")
    mine = exchange_of(server, files)
    theirs = exchange_of(server, server.certificates.issue("agent", "bob"))
    guessed = new_token(system.keys.public_key)
    try:
        async with Client(RemoteSystem(mine, "alice", namespace), "alice", token) as alice:
            assert (await alice.send("bob", "x", {"n": 1})).message_id

        thief = Unchecked(RemoteSystem(theirs, "alice", namespace), "alice", token)
        with pytest.raises(Forbidden, match="this connection is for bob"):
            async with thief:
                await thief.send("bob", "x", {"n": 2})
        await thief.stop()
        record = await recorded(system, "frame.refused", sealed_as="alice")
        assert record.details["subjects"] == ["bob"]

        async with Unchecked(RemoteSystem(mine, "alice", namespace), "alice", guessed) as alice:
            with pytest.raises(MasError):
                await alice.send("bob", "x", {"n": 3}, timeout=0.5)
        refused = [
            record for record in await system.audit(kind="frame") if record.decision == "unauthenticated"
        ]
        assert [record.details["claimed_sender"] for record in refused] == ["alice"]
    finally:
        await mine.close()
        await theirs.close()

    assert (await refusal(exchange_with(server, b"", b""))).code == "store_unreachable"
    assert [record.decision for record in await system.audit(kind="message")] == ["allowed"]


async def test_s37_failed_handshakes_neither_fill_the_audit_nor_harm_others(system, server):
    """Hundreds of them become few records that count them all, and lines that look like gRPC's are no news."""
    before = await settled(system)
    forged = (
        b"\nI1122 01:02:03.456789 7 ssl_transport_security.cc:1] Handshake failed with error X: expired\n"
    )
    flood = asyncio.gather(*(asyncio.to_thread(fail, server, FLOOD // 4, forged * 3) for _ in range(4)))
    exchange = exchange_of(server, server.certificates.issue("agent", "alice"))
    took = []
    while not flood.done() or not took:
        began = time.monotonic()
        await exchange.call(Call(get_backlog=GetBacklog()))
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.01)
    await flood
    await exchange.close()
    log.warning("%d handshakes, %d calls beside, longest %.3f s", FLOOD, len(took), max(took))

    async def counted():
        records = await system.audit(kind="security", type="handshake.refused")
        return sum(map(count_of, records)) >= before + FLOOD and records

    records = await until(counted, 60)
    assert sum(map(count_of, records)) == before + FLOOD
    assert len(records) < 200 + FLOOD / 50
    log.warning("%d records", len(records))
    assert {line["event"] for line in server.log} <= KNOWN_EVENTS


async def settled(system):
    """How many failed handshakes are recorded, once those before are: counts are written a second late at most."""
    told = -1
    while True:
        records = await system.audit(kind="security", type="handshake.refused")
        if told == (told := sum(map(count_of, records))):
            return told
        await asyncio.sleep(1.5)


def fail(server, times, text):
    """Connect without TLS, over and over."""
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(text)
            with contextlib.suppress(ConnectionError):
                connection.recv(100)


def count_of(record):
    """How many a record stands for."""
    return record.details["facts"].get("count", 1)
