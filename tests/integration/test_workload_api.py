"""Certificates from a Workload API: a stand-in for SPIRE's agent, on a socket of its own."""

from __future__ import annotations

import asyncio
import json
import queue
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe._proto import workload_pb2, workload_pb2_grpc

from mas_cli import app
from mas_core.errors import KeyNotFound, Unreachable, UsageError
from mas_core.ops.workload_api import fetch, follow
from mas_core.security.certificate_files import CertificateFiles
from mas_core.security.certificates import Authority, Holder, new_key
from mas_core.security.spiffe import agent_of, serial_of

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = Authority.create("example.org", now=NOW)


def answer(*agent_ids, authorities=(AUTHORITY,)):
    """What a Workload API says of the caller's certificates."""
    svids = []
    for agent_id in agent_ids:
        key = new_key()
        certificate = authorities[0].issue(Holder("agent", agent_id), key.public_key(), now=NOW)
        svids.append(
            workload_pb2.X509SVID(
                spiffe_id=f"spiffe://example.org/agent/{agent_id}",
                x509_svid=certificate.public_bytes(Encoding.DER),
                x509_svid_key=key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
                bundle=b"".join(each.certificate.public_bytes(Encoding.DER) for each in authorities),
            )
        )
    return workload_pb2.X509SVIDResponse(svids=svids)


class WorkloadApi(workload_pb2_grpc.SpiffeWorkloadAPIServicer):
    """Says what it was told last, and streams what it is told while somebody listens."""

    def __init__(self):
        self.now = answer("billing")
        self.listeners = []

    def say(self, response):
        self.now = response
        for listener in self.listeners:
            listener.put(response)

    def cut(self):
        for listener in self.listeners:
            listener.put(None)
        self.listeners.clear()

    def FetchX509SVID(self, request, context):  # noqa: N802 - the name of the protocol
        assert dict(context.invocation_metadata())["workload.spiffe.io"] == "true"
        if self.now is None:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        listener = queue.Queue()
        context.add_callback(lambda: listener.put(None))
        self.listeners.append(listener)
        yield self.now
        while (response := listener.get()) is not None:
            yield response


@pytest.fixture
def api(tmp_path):
    """A Workload API; its socket."""
    server = grpc.server(ThreadPoolExecutor(4))
    service = WorkloadApi()
    service.socket = f"unix://{tmp_path}/api.sock"
    workload_pb2_grpc.add_SpiffeWorkloadAPIServicer_to_server(service, server)
    server.add_insecure_port(service.socket)
    server.start()
    yield service
    service.cut()
    server.stop(0).wait()


async def test_what_the_workload_api_says_now_is_written_to_private_files(api, tmp_path):
    """Certificate, key and authorities, as everything here reads them; of several the one that is asked for."""
    other = Authority.create("example.org", now=NOW)
    api.now = answer("billing", "clerk", authorities=(AUTHORITY, other))
    folder = tmp_path / "certs"

    first = await fetch(api.socket, folder)
    files = CertificateFiles(first.path, authorities=first.authorities_path).current()
    assert agent_of(files.certificate, trust_domain="example.org") == "billing"
    assert (first.spiffe_id, first.serial) == (
        "spiffe://example.org/agent/billing",
        serial_of(files.certificate),
    )
    assert first.authorities == 2
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o600
    chosen = await fetch(api.socket, folder, spiffe_id="spiffe://example.org/agent/clerk")
    assert chosen.spiffe_id.endswith("/clerk")
    with pytest.raises(KeyNotFound):
        await fetch(api.socket, folder, spiffe_id="spiffe://example.org/agent/nobody")


async def test_files_follow_what_the_workload_api_says_also_after_it_was_gone(api, tmp_path):
    """Each new certificate is written; a stream that ends is opened again."""
    told = asyncio.Queue()
    following = asyncio.create_task(follow(api.socket, tmp_path / "certs", told.put_nowait))
    try:
        async with asyncio.timeout(20):
            first = await told.get()
            files = CertificateFiles(first.path)
            assert serial_of(files.current().certificate) == first.serial
            while not api.listeners:
                await asyncio.sleep(0.01)
            api.say(answer("billing"))
            second = await told.get()
            assert serial_of(files.current().certificate) == second.serial != first.serial
            api.now = answer("billing")
            api.cut()
            third = await told.get()
            assert serial_of(files.current().certificate) == third.serial != second.serial
    finally:
        following.cancel()
        await asyncio.wait([following])


async def test_a_workload_api_that_gives_nothing_is_told_apart_from_one_that_is_not_there(api, tmp_path):
    """Nothing is written then."""
    api.now = None
    with pytest.raises(Unreachable, match=r"PERMISSION_DENIED|no identity"):
        await fetch(api.socket, tmp_path / "certs")
    for socket in ("tcp:nowhere", "", f"unix://{tmp_path}/none.sock"):
        with pytest.raises((UsageError, Unreachable)):
            await fetch(socket, tmp_path / "certs", wait=0.3)
    assert not (tmp_path / "certs").exists()


def test_the_command_writes_the_files_once_where_that_is_asked_for(api, tmp_path, monkeypatch, capfd):
    """And says what it wrote; where nobody answers it ends with 3, and without the socket with 2."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ["cert", "follow", "--workload-api", api.socket, "--out", "certs", "--once", "-o", "json"]

    assert app.main(words) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["spiffe_id"] == "spiffe://example.org/agent/billing"
    assert (tmp_path / "certs" / "svid.pem").exists()
    api.now = None
    assert app.main(words) == 3
    assert app.main([*words[:2], "--workload-api", f"unix://{tmp_path}/none", "--out", "x", "--once"]) == 2
