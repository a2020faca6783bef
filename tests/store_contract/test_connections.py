"""What is asked of a server, and what it means when it does not answer."""

import asyncio

import pytest

from mas_core.errors import ConfigurationError, InternalError, StoreUnreachable
from mas_core.store.connection import Connection, Pipeline, safe_url
from mas_core.store.store import Store


async def test_scripts_are_loaded_again_when_the_server_forgot_them(store):
    """SCRIPT FLUSH in the middle of work is not noticed, alone or in a pipeline (R22)."""
    from mas_core.model.policy import RateLimit

    agent = store.agent("alice")
    await agent.set_state(None, b"{}")
    await store.connection.call("SCRIPT", "FLUSH")
    assert await agent.set_state(None, b"{}") == (True, 2)

    await store.connection.call("SCRIPT", "FLUSH")
    lookups = store.partition(0).lookups()
    lookups.reserve("alice", 3, RateLimit())
    await lookups.run()
    assert lookups.grants["alice"].granted == 3


async def test_replies_of_a_pipeline_come_in_order(store):
    """One for each command."""
    pipeline = Pipeline()
    for number in range(5):
        pipeline.add("ECHO", str(number))

    assert await store.connection.run(pipeline) == [b"0", b"1", b"2", b"3", b"4"]
    async with asyncio.timeout(5):
        assert await store.connection.run(Pipeline()) == []


async def test_a_command_that_the_server_does_not_take_is_our_fault(store):
    """It is not retried as if the server were away."""
    await store.connection.call("SET", f"{store.namespace}:x", "text")

    with pytest.raises(InternalError, match="refused a command"):
        await store.connection.call("HGET", f"{store.namespace}:x", "field")


async def test_a_cancelled_command_leaves_the_connection_usable(store):
    """The answer of one command is never given to another."""
    blocked = asyncio.create_task(
        store.connection.call("XREAD", "BLOCK", 300, "STREAMS", f"{store.namespace}:s", "0")
    )
    await asyncio.sleep(0)
    blocked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await blocked

    assert [await store.connection.call("ECHO", str(number)) for number in range(3)] == [b"0", b"1", b"2"]


async def test_a_server_that_is_not_there_is_unreachable(tmp_path):
    """With a hint, and without the password in the text."""
    async with Store(f"unix://:secret@{tmp_path}/no.sock") as store:
        with pytest.raises(StoreUnreachable) as caught:
            await store.ping()

    assert "secret" not in str(caught.value)
    assert caught.value.retryable
    assert caught.value.hint == ("mas up",)


async def test_a_wrong_password_is_a_matter_of_configuration(server_url):
    """Waiting would not help."""
    url = server_url.replace("://:", "://:not")
    async with Store(url) as store:
        with pytest.raises(ConfigurationError, match="does not accept this user or password"):
            await store.ping()


async def test_a_text_that_is_no_url_is_refused():
    """Before anything is connected."""
    with pytest.raises(ConfigurationError, match="is not the URL of a server"):
        Connection("http://example.org")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:1/0", "redis://user:***@host:1/0"),
        ("redis://:secret@host", "redis://:***@host"),
        ("unix:///a/b.sock?password=secret&db=1", "unix:///a/b.sock?password=***&db=1"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_urls_are_shown_without_their_password(url, shown):
    """Wherever it stands."""
    assert safe_url(url) == shown


async def test_equal_memory_urls_share_a_store(own_namespace):
    """Within a process, as several connections to one server do."""
    from mas_core.store.memory import forget_memory

    url = f"memory://{own_namespace}"
    async with Store(url) as one, Store(url) as other, Store(url + "x") as elsewhere:
        await one.agent("alice").set_state(None, b"{}")

        assert (await other.agent("alice").get_state())[0] == 1
        assert (await elsewhere.agent("alice").get_state())[0] == 0
    forget_memory(url)
    forget_memory(url + "x")


async def test_a_scan_finds_the_keys_of_every_server(store):
    """Page by page."""
    keys = {store.keys.state(number % 2, f"agent{number}").encode() for number in range(50)}
    for key in keys:
        await store.connection.call("SET", key, "x")

    found = [key async for page in store.connection.scan(f"{store.namespace}:*", 10) for key in page]

    assert set(found) == keys
