"""Gateways are restarted one after the other while others send and ask."""

import asyncio
import os
import signal

import pytest
from support.gateway_faults import rolling_restarts, takeovers
from support.servers import embedded_server
from support.systems import live_system


async def test_r18_rolling_restarts_are_seen_by_nobody(server_url):
    """SIGTERM in turn: nothing lost or doubled, no error for senders or callers of request(), exit code 0."""
    found = await rolling_restarts(server_url, 2)

    assert found.exit_codes == {0: 2}
    assert (found.lost, found.doubled) == (0, 0)
    assert (found.send_errors, found.request_errors) == ([], [])
    assert found.acknowledged > 100
    assert found.audit_holds


async def test_the_partitions_of_a_killed_gateway_are_taken_over(server_url):
    """By the other, as soon as the lease ends; `takeovers` of the script times many."""
    times = await takeovers(server_url, 1)

    assert len(times) == 1


async def test_a_second_signal_ends_a_gateway_at_once():
    """Also one that cannot finish, here since the server does not answer."""
    async with embedded_server() as server, live_system(server.url, gateways=0) as system:
        process = await system.spawn_gateway()
        os.kill(server.pid, signal.SIGSTOP)
        try:
            process.send_signal(signal.SIGTERM)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(process.wait(), 0.3)
            process.send_signal(signal.SIGTERM)

            assert await asyncio.wait_for(process.wait(), 5) == 128 + signal.SIGTERM
        finally:
            os.kill(server.pid, signal.SIGCONT)


async def test_a_gateway_by_itself_refuses_a_server_that_cannot_keep_the_profile(server_url):
    """As `mas gateway run` does: nothing is taken without the durability that was promised, unless it is forced."""
    async with live_system(server_url, gateways=0) as system:
        with pytest.raises(AssertionError, match=r"profile_unmet.*needs appendfsync always"):
            await system.spawn_gateway(profile="durable")

        assert not await system.system.gateways()
        await system.spawn_gateway("--force", profile="durable")
