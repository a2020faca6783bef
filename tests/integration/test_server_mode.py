"""Agents behind a server: what the SDK does when the server goes, comes back, or says no."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.plain_agents import keep_tokens
from support.serving import serving
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent.agent import Agent
from mas_core.errors import (
    AgentNotFound,
    CertificateRefused,
    ConfigurationError,
    SecretUnavailable,
    StoreUnreachable,
)
from mas_core.protocol.frames_pb2 import Call, Hello
from mas_core.remote.exchange import MAX_RETRY_S, Exchange
from mas_core.remote.system import address_of
from mas_core.security.certificate_files import write_pair
from mas_core.settings.certificate_paths import agent_certificate, authorities
from mas_core.settings.tls_files import TlsFiles


def ended() -> dict[str, Any]:
    """Of a certificate that has expired, though not before its authority began."""
    minute = timedelta(minutes=1)
    return {"now": datetime.now(UTC) - 3 * minute, "lifetime": minute}


@pytest.fixture
async def system(server_url):
    """alice may send to bob; both come through a server."""
    async with live_system(
        f"grpcs+{server_url}", agents=["alice", "bob"], allow=[("alice", "bob")]
    ) as opened:
        yield opened


async def test_agents_go_on_when_their_server_comes_back(system):
    """A message that is sent while there is no server arrives once there is one again, and only once."""
    bob = await system.run("bob")
    alice = await system.run("alice")
    await alice.send("bob", "note", {"n": 1})
    port = system.serving.server.port
    await system.serving.server.stop(0)
    sending = asyncio.create_task(alice.send("bob", "note", {"n": 2}))
    await asyncio.sleep(0.3)
    assert not sending.done()
    async with serving(system.system, system.folder / "certs", port) as again:
        # The authority is a new one: files that are replaced count without a restart.
        for name in ("alice", "bob"):
            again.certificates.issue("agent", name)
        assert (await sending).is_delivered
        await until(lambda: bob.numbers == [1, 2])
        await alice.send("bob", "note", {"n": 3})
        await until(lambda: bob.numbers == [1, 2, 3])
        await alice.stop()
        await bob.stop()


async def test_a_renewed_certificate_is_shown_without_a_restart(system):
    """The conversation moves to a new connection, and nothing of what is under way is lost."""
    bob = await system.run("bob")
    alice = await system.run("alice")
    shown = {caller.certificate.serial_number for caller in system.serving.server._admission._callers}
    system.serving.certificates.issue("agent", "alice")
    system.serving.certificates.issue("agent", "bob")
    number = 0

    def is_moved() -> bool:
        callers = system.serving.server._admission._callers
        return len(callers) == 2 and not shown & {caller.certificate.serial_number for caller in callers}

    while not is_moved():
        number += 1
        await alice.send("bob", "note", {"n": number})
    await until(lambda: bob.numbers == list(range(1, number + 1)))


async def test_a_certificate_of_another_agent_is_told_at_once(system):
    """A mistake in the settings is no mystery."""
    files = system.serving.certificates.agent("bob")
    with pytest.raises(ConfigurationError, match="the certificate is for bob, and this agent is alice"):
        await system.agent("alice", tls=files).start()


async def test_without_a_certificate_nobody_is_asked(system):
    """The error says what to type."""
    agent = Agent("alice", redis_url=system.serving.url, token=system.tokens["alice"])
    with pytest.raises(SecretUnavailable) as refused:
        await agent.start()
    assert "mas cert issue alice" in refused.value.hint
    missing = system.folder / "none.pem"
    with pytest.raises(SecretUnavailable, match=r"none\.pem cannot be read") as refused:
        await system.agent(
            "alice", tls=TlsFiles(missing, missing, system.serving.certificates.ca_path)
        ).start()
    assert "mas cert issue alice" in refused.value.hint


async def test_a_certificate_that_no_server_takes_is_not_shown(system):
    """The agent says itself what is wrong with it, and the server records no refusal."""
    certificates, now = system.serving.certificates, datetime.now(UTC)
    begun = system.serving.server.refused
    for kind, options, said in (
        ("agent", ended(), "expired at"),
        ("agent", {"now": now + timedelta(days=1)}, "is valid from"),
        ("server", {"hosts": ("localhost",)}, "not for clients"),
    ):
        files = certificates.issue(kind, "alice", **options)
        with pytest.raises(CertificateRefused, match=said) as refused:
            await system.agent("alice", tls=files).start()
        assert refused.value.hint == ("mas cert issue alice", f"mas cert inspect {files.cert_path}")
    assert system.serving.server.refused == begun


async def test_a_request_says_that_there_is_no_server_and_why(system):
    """Not that its target was silent; one whose certificate has ended meanwhile is told that."""
    alice = await system.run("alice")
    await system.serving.server.stop(0)
    with pytest.raises(StoreUnreachable, match=r"does not answer|is going away"):
        await alice.request("bob", "note", {"n": 1}, timeout=0.5)
    system.serving.certificates.issue("agent", "alice", **ended())

    async def is_told() -> bool:
        with pytest.raises(StoreUnreachable) as lost:
            await alice.request("bob", "note", {"n": 2}, timeout=0.5)
        return "the certificate expired" in lost.value.message and "mas cert issue alice" in lost.value.hint

    while not await is_told():
        pass


async def test_an_agent_finds_its_files_in_its_project(system, monkeypatch):
    """Whoever stands in a project names the server and nothing else; paths may be strings."""
    files = system.serving.certificates.agent("alice")
    agent = Agent(
        "alice", redis_url=system.serving.url, token=system.tokens["alice"], tls=TlsFiles(*map(str, files))
    )
    await agent.start()
    await agent.stop()
    certs = system.folder / ".mas" / "certs"
    write_pair(files.cert_path.read_bytes(), b"", agent_certificate(certs, "alice"))
    authorities(certs).write_bytes(files.ca_path.read_bytes())
    keep_tokens(system)
    (system.folder / "mas.yaml").write_text("profile: fast\n")
    monkeypatch.chdir(system.folder)
    agent = Agent("alice", redis_url=system.serving.url)
    await agent.start()
    await agent.stop()


async def test_who_is_not_let_in_comes_back_ever_more_seldom(system):
    """Up to the 10 s of the protocol; where there is no server at all, 2 s at most."""
    files = system.serving.certificates.issue("agent", "alice", **ended())
    pem, trusted = files.cert_path.read_bytes(), files.ca_path.read_bytes()
    exchange = Exchange(address_of(system.serving.url), lambda: (pem, pem, trusted))

    async def pause_after(attempts: int) -> float:
        for _ in range(attempts):
            exchange._retry_at = 0.0
            with pytest.raises(StoreUnreachable):
                await exchange.call(Call(hello=Hello()))
        return exchange._retry_at - time.monotonic()

    assert await pause_after(8) > 1.5 * MAX_RETRY_S
    await system.serving.server.stop(0)
    assert await pause_after(8) < 1.5 * MAX_RETRY_S
    await exchange.close()


async def test_an_agent_that_is_not_registered_is_refused(system):
    """Certificates let nobody in who is not of this system."""
    files = system.serving.certificates.agent("stranger")
    agent = Agent("stranger", redis_url=system.serving.url, token=system.tokens["alice"], tls=files)
    with pytest.raises(AgentNotFound):
        await agent.start()


async def test_a_server_of_another_authority_is_not_trusted(system, tmp_path):
    """An agent talks to nobody whose certificate its own authority did not issue."""
    async with serving(system.system, tmp_path / "others") as other:
        files = TlsFiles(*system.serving.certificates.agent("alice")[:2], other.certificates.ca_path)
        with pytest.raises(StoreUnreachable):
            await system.agent("alice", tls=files).start()


async def test_an_agent_ends_when_it_is_deleted(system):
    """Its conversation is closed, and it does not come back."""
    bob = await system.run("bob", Recorder, heartbeat_interval=0.2)
    await system.system.registry.delete("bob")
    await asyncio.wait_for(bob.evicted.wait(), 10)
    with contextlib.suppress(AgentNotFound):
        await bob.wait()
    await until(lambda: not system.serving.server._admission._callers)
