"""Certificates from a SPIFFE Workload API (SPIRE and others), kept in files that everything else here reads.

The Workload API (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Workload_API.md) is a gRPC service on
a socket of the machine that gives each process its own certificate and renews it in time. Whoever can read no such
socket reads files: this keeps them up to date. It needs the extra: `pip install 'mas[spiffe]'`.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mas_core.base.backoff import exponential_delays
from mas_core.errors import ConfigurationError, KeyNotFound, Unreachable, UsageError
from mas_core.ops.project_certificates import milliseconds
from mas_core.security.certificate_files import write_pair
from mas_core.security.certificates import pem_of
from mas_core.security.spiffe import serial_of
from mas_core.settings.private_files import private_dir, write_private

if TYPE_CHECKING:
    from spiffe import WorkloadApiClient, X509Svid
    from spiffe.workloadapi.x509_context import X509Context

ANSWER_WITHIN_S: Final = 10.0
CERTIFICATE_NAME: Final = "svid.pem"
AUTHORITIES_NAME: Final = "authorities.pem"


@dataclass(frozen=True, slots=True)
class Followed:
    """What was written to the files."""

    spiffe_id: str
    serial: str
    expires: int
    """Unix milliseconds."""
    authorities: int
    """How many are trusted."""
    path: Path
    """Certificate and key."""
    authorities_path: Path


async def fetch(socket: str, folder: Path, *, spiffe_id: str = "", wait: float = ANSWER_WITHIN_S) -> Followed:
    """Write what the Workload API says now.

    Args:
        socket: Such as `unix:///run/spire/agent.sock`.
        folder: Gets `svid.pem` with certificate and key, and `authorities.pem`; made when missing.
        spiffe_id: Which certificate, where the process is given several; the first when left out.
        wait: Seconds that it may take to answer.

    Raises:
        ConfigurationError: The extra is not installed, or the folder does not take the files.
        UsageError: This cannot be a socket of a Workload API.
        Unreachable: It does not answer.
        KeyNotFound: It gives no such certificate.
    """
    async with _client(socket) as client:
        return _written(await _fetched(client, wait), folder, spiffe_id)


async def follow(
    socket: str,
    folder: Path,
    report: Callable[[Followed], None],
    *,
    spiffe_id: str = "",
    wait: float = ANSWER_WITHIN_S,
) -> None:
    """Write what the Workload API says, and again whenever it says something else, until cancelled.

    Args:
        socket: As for `fetch`.
        folder: As for `fetch`.
        report: Gets what was written each time.
        spiffe_id: As for `fetch`.
        wait: Seconds that the first answer may take; later on its silence is waited out.

    Raises:
        ConfigurationError, UsageError, Unreachable, KeyNotFound: As for `fetch`, at the beginning only; then
            the files stay as they are until it answers again.
    """
    last = await fetch(socket, folder, spiffe_id=spiffe_id, wait=wait)
    report(last)
    async with _client(socket) as client:
        async for context in _contexts(client):
            written = _written(context, folder, spiffe_id)
            if written != last:
                report(written)
            last = written


async def _contexts(client: WorkloadApiClient) -> AsyncIterator[X509Context]:
    """What the Workload API streams; it is asked again when the stream ends."""
    loop = asyncio.get_running_loop()
    found: asyncio.Queue[X509Context | None] = asyncio.Queue()

    def tell(item: X509Context | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(found.put_nowait, item)

    delays = exponential_delays(base=0.2, maximum=10.0)
    while True:
        stream = client.stream_x509_contexts(tell, lambda _error: tell(None))
        try:
            while (context := await found.get()) is not None:
                delays = exponential_delays(base=0.2, maximum=10.0)
                yield context
        finally:
            stream.cancel()
        await asyncio.sleep(next(delays))


async def _fetched(client: WorkloadApiClient, wait: float) -> X509Context:
    from spiffe.workloadapi.errors import WorkloadApiError  # noqa: PLC0415 - an extra

    try:
        return await asyncio.to_thread(client.fetch_x509_context, timeout=wait)
    except WorkloadApiError as error:
        raise Unreachable(
            f"the Workload API gives no certificate: {error}",
            hint="see that its agent runs, and that it has an entry for this process",
        ) from error


def _written(context: X509Context, folder: Path, spiffe_id: str) -> Followed:
    svid = _chosen(context, spiffe_id)
    bundle = context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    trusted = sorted(
        bundle.x509_authorities if bundle is not None else (), key=lambda each: each.fingerprint(SHA256())
    )
    if not folder.exists():
        private_dir(folder)
    path, authorities_path = folder / CERTIFICATE_NAME, folder / AUTHORITIES_NAME
    # Trusted before anybody shows what they have issued.
    write_private(authorities_path, pem_of(trusted))
    key = svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_pair(pem_of(svid.cert_chain), key, path)
    return Followed(
        str(svid.spiffe_id),
        serial_of(svid.leaf),
        milliseconds(svid.leaf.not_valid_after_utc),
        len(trusted),
        path,
        authorities_path,
    )


def _chosen(context: X509Context, spiffe_id: str) -> X509Svid:
    for svid in context.x509_svids:
        if spiffe_id in ("", str(svid.spiffe_id)):
            return svid
    given = ", ".join(str(svid.spiffe_id) for svid in context.x509_svids)
    raise KeyNotFound(f"the Workload API gives no certificate for {spiffe_id}, but for {given}")


@asynccontextmanager
async def _client(socket: str) -> AsyncIterator[WorkloadApiClient]:
    if importlib.util.find_spec("spiffe") is None:
        raise ConfigurationError(
            "the Workload API needs the library spiffe, which is not installed",
            hint="pip install 'mas[spiffe]'",
        )
    from spiffe import WorkloadApiClient  # noqa: PLC0415 - an extra
    from spiffe.errors import ArgumentError  # noqa: PLC0415

    try:
        client = WorkloadApiClient(socket)
    except ArgumentError as error:
        raise UsageError(
            f"{socket!r} is no socket of a Workload API: {error}",
            hint="--workload-api unix:///run/spire/agent.sock",
        ) from error
    try:
        yield client
    finally:
        await asyncio.to_thread(client.close)
