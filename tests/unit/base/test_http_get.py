"""The small HTTP server: what probes need, and bounds for everybody else."""

import asyncio

import pytest

from mas_core.base import http_get
from mas_core.base.http_get import Answer, HttpGet


async def hello():
    return Answer(b'{"hello":1}')


async def broken():
    raise RuntimeError("secret words")


@pytest.fixture
async def server():
    async with HttpGet("127.0.0.1", 0, {"/hello": hello, "/broken": broken}) as running:
        yield running


async def ask(server, text, *, ends=False):
    """What comes back for these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(text)
    if ends:
        writer.write_eof()
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /hello HTTP/1.1\r\nHost: localhost:9464\r\n\r\n", 200),
        (b"GET /hello?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"GET /hello HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", 200),
        (b"GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /hello HTTP/1.1\r\nhost: localhost\r\nHOST: evil.example\r\n\r\n", 403),
        (b"GET /hello/ HTTP/1.1\r\n\r\n", 404),
        (b"GET /../hello HTTP/1.1\r\n\r\n", 404),
        (b"POST /hello HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"GET /broken HTTP/1.1\r\n\r\n", 500),
        (b"GET  /hello HTTP/1.1\r\n\r\n", 400),
        (b"\x00\xff\r\n\r\n", 400),
        (b"GET /hello HTTP/1.1\r\n" + b"x: " + b"y" * 9000 + b"\r\n\r\n", 431),
    ],
)
async def test_a_request_has_the_answer_that_it_deserves(server, request_, status):
    """Status and one body, and the connection ends; nothing of the request and of no error is in it."""
    head, _, body = (await ask(server, request_)).partition(b"\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert f"Content-Length: {len(body)}".encode() in head
    assert (body == b'{"hello":1}') is (status == 200)
    assert b"secret" not in body
    assert b"evil" not in body


async def test_head_gives_the_head_alone(server):
    """With the length that the body would have."""
    answer = await ask(server, b"HEAD /hello HTTP/1.1\r\n\r\n")

    assert b"Content-Length: 11\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_who_says_nothing_or_half_is_cut_off(server, monkeypatch):
    """After its time, or when it hangs up."""
    monkeypatch.setattr(http_get, "REQUEST_SECONDS", 0.05)

    assert await ask(server, b"") == b""
    assert await ask(server, b"GET /hello HTT") == b""
    assert await ask(server, b"GET /hello HTT", ends=True) == b""
    assert server._open == set()


async def test_so_many_connections_and_no_more(server):
    """Those beyond the bound are closed; when the others are gone there is room again."""
    kept = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(http_get.MAX_CONNECTIONS)]
    async with asyncio.timeout(10):
        while len(server._open) < http_get.MAX_CONNECTIONS:
            await asyncio.sleep(0.01)

    assert await ask(server, b"GET /hello HTTP/1.1\r\n\r\n") == b""

    for _, writer in kept:
        writer.close()
    async with asyncio.timeout(10):
        while server._open:
            await asyncio.sleep(0.01)
    assert b" 200 " in await ask(server, b"GET /hello HTTP/1.1\r\n\r\n")


async def test_a_slow_route_ends_with_the_server():
    """What is under way when the server ends is cut off, and nothing is left behind."""

    async def slow():
        await asyncio.sleep(3600)

    async with HttpGet("127.0.0.1", 0, {"/slow": slow}) as running:
        asking = asyncio.create_task(ask(running, b"GET /slow HTTP/1.1\r\n\r\n"))
        async with asyncio.timeout(10):
            while not running._open:
                await asyncio.sleep(0.01)

    assert await asking == b""
