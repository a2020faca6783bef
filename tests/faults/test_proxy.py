"""The proxy of the fault table leaves nothing behind that another test would be blamed for."""

import asyncio
import gc
import socket
import warnings

from support.waiting import until

from tests.faults.proxy import Proxy


async def test_a_proxy_leaves_no_connection_open_where_one_side_reads_nothing_and_the_other_has_ended(
    tmp_path,
):
    """What is unsent goes with the proxy, and so does the connection that it waited for."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        await use_proxy(tmp_path / "server")
        gc.collect()

    assert [str(item.message) for item in told] == []


async def use_proxy(path):
    """Let the server's side end while the client's still has something to take."""
    with socket.socket() as client, Proxy(path) as proxy:

        async def serve(_, writer):
            (link,) = proxy._links
            link.near.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            while not link.near.transport.get_write_buffer_size():
                writer.write(b"+OK\r\n" * 1_000)
                await asyncio.sleep(0.005)
            writer.close()
            await until(link.near.is_closing)

        async with await asyncio.start_unix_server(serve, path):
            client.connect(("127.0.0.1", proxy.port))
            (link,) = await until(lambda: list(proxy._links))
            await until(link.near.is_closing)
            assert link.near.transport.get_write_buffer_size()
