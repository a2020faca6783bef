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
    path = tmp_path / "server"
    with Proxy(path) as proxy:

        async def serve(_, writer):
            (link,) = proxy._links
            near = link.near
            near.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            while not near.transport.get_write_buffer_size():
                writer.write(b"+OK\r\n" * 1_000)
                await asyncio.sleep(0.005)
            writer.close()
            await until(near.is_closing)

        async with await asyncio.start_unix_server(serve, path):
            client = socket.create_connection(("127.0.0.1", proxy.port))
            (link,) = await until(lambda: list(proxy._links))
            await until(link.near.is_closing)
            assert link.near.transport.get_write_buffer_size()
    del link
    with client, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del proxy
        gc.collect()

    assert [str(item.message) for item in told] == []
