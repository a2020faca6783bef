"""Keep-alive on the wire: what clients may do without being thrown out."""

import asyncio
import ssl

from support.serving import serving
from support.systems import live_system

from mas_core.server import service

PING, GOAWAY = 6, 7
ACKNOWLEDGED = 1
PINGS = 8


def frame(kind: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2 for the whole connection (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, 0]) + bytes(4) + payload


async def test_idle_clients_may_ping_as_often_as_is_promised(server_url, tmp_path, monkeypatch):
    """The interval that is set counts, so a connection without calls is not ended for its pings."""
    promised = dict(service._OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"]
    assert promised <= 5_000
    options = tuple((name, 1 if value == promised and "ping_interval" in name else value)
                    for name, value in service._OPTIONS)  # fmt: skip
    monkeypatch.setattr(service, "_OPTIONS", options)
    async with (
        live_system(server_url, agents=["alice"]) as system,
        serving(system.system, tmp_path / "certs") as served,
    ):
        files = served.certificates.agent("alice")
        context = ssl.create_default_context(cafile=str(files.ca_path))
        context.load_cert_chain(files.cert_path, files.key_path)
        context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection("localhost", served.server.port, ssl=context)
        settings = frame(4)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        for number in range(PINGS):
            writer.write(frame(PING, number.to_bytes(8, "big")))
            async with asyncio.timeout(10):
                while True:
                    head = await reader.readexactly(9)
                    payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                    assert head[3] != GOAWAY, payload
                    if head[3] == PING and head[4] == ACKNOWLEDGED:
                        break
            assert int.from_bytes(payload, "big") == number
            await asyncio.sleep(0.02)
        writer.transport.abort()
