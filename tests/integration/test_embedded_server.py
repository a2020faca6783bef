"""The embedded server is private, durable, and comes back after a crash."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import redis.asyncio as redis

from mas_core.errors import ConfigurationError, LockHeld, StoreUnreachable
from mas_core.store.embedded_server import EmbeddedServer


def server_in(root, **options):
    return EmbeddedServer(root / "server", root / "run", root / "keys", **options)


async def until(condition, seconds=15.0):
    """Wait for `condition`; fail when it does not come true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def command(server, *words):
    client = redis.Redis.from_url(server.url, decode_responses=True)
    try:
        return await client.execute_command(*words)
    finally:
        await client.aclose()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_was_written_is_there_after_a_stop(tmp_path):
    """Data survives stop and start, under the settings that the profile asks for."""
    async with server_in(tmp_path) as server:
        await command(server, "SET", "k", "v")
        settings = [
            (await command(server, "CONFIG", "GET", name))[name]
            for name in ("appendonly", "appendfsync", "maxmemory-policy", "port", "proto-max-bulk-len")
        ]

    async with server_in(tmp_path, profile="fast") as server:
        assert await command(server, "GET", "k") == "v"
        assert (await command(server, "CONFIG", "GET", "appendfsync"))["appendfsync"] == "everysec"
    assert settings == ["yes", "always", "noeviction", "0", str(2 * 1024 * 1024)]
    assert server.pid == 0
    assert not server.socket_path.exists()


async def test_nobody_else_gets_in_and_nothing_shows_the_password(tmp_path):
    """Without the password no command runs; it is in no argument list; every file is for its owner only."""
    async with server_in(tmp_path) as server:
        await command(server, "SET", "k", "v")
        password = (tmp_path / "keys" / "server.password").read_text().strip()
        stranger = redis.Redis(unix_socket_path=str(server.socket_path), retry=None)
        with pytest.raises((redis.AuthenticationError, redis.ConnectionError), match=r"[Aa]uthenticat"):
            await stranger.get("k")
        await stranger.aclose()
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{server.pid}/environ").read_bytes()
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        folders = [path for path in tmp_path.rglob("*") if path.is_dir()]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in files}
        folder_modes = {stat.S_IMODE(path.stat().st_mode) for path in folders}

    assert password.encode() not in arguments + environment
    assert any("appendonly" in path.name for path in files)
    assert modes == {0o600}
    assert folder_modes == {0o700}
    assert password not in server.log_path.read_text()


async def test_a_killed_server_comes_back_with_its_data(tmp_path):
    """A crash is told, and the server starts again by itself."""
    events = []
    async with server_in(tmp_path, on_event=events.append, restart_base_s=0.05) as server:
        await command(server, "SET", "k", "v")
        first = server.pid

        os.kill(first, signal.SIGKILL)
        await until(lambda: [event.kind for event in events].count("ready") == 2)

        assert server.pid != first
        assert await command(server, "GET", "k") == "v"
    assert [event.kind for event in events] == ["ready", "exited", "restarting", "ready", "stopped"]
    assert "signal SIGKILL" in events[1].message


async def test_a_server_that_keeps_crashing_is_given_up(tmp_path):
    """It is not started for ever: the last event says so, with the reason."""
    events = []
    async with server_in(tmp_path, on_event=events.append, restart_base_s=0.01) as server:
        (tmp_path / "server" / "appendonlydir").rename(tmp_path / "old")
        (tmp_path / "server" / "appendonlydir").write_text("no folder")
        os.kill(server.pid, signal.SIGKILL)

        await asyncio.wait_for(server.failed.wait(), 30)

    assert events[-1].kind == "gave_up"
    assert "given up after 6 attempts" in events[-1].message


async def test_a_second_start_on_the_same_folder_is_refused(tmp_path):
    """Two servers never share a data folder; the first goes on."""
    async with server_in(tmp_path) as server:
        with pytest.raises(LockHeld) as caught:
            await server_in(tmp_path).start()

        assert caught.value.details["owner"] == str(os.getpid())
        assert await command(server, "PING") in {True, "PONG"}


async def test_a_stale_socket_and_process_id_are_no_obstacle(tmp_path):
    """What a killed machine left behind is put aside, even when the process id is somebody else's now."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    (run_dir / "server.sock").write_text("")
    (run_dir / "server.pid").write_text(str(os.getpid()))

    async with server_in(tmp_path) as server:
        assert await command(server, "PING") in {True, "PONG"}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the child only on Linux")
async def test_the_server_ends_with_its_owner_and_the_next_start_works(tmp_path):
    """kill -9 of the owner leaves no server behind and no lock."""
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from mas_core.store.embedded_server import EmbeddedServer
        async def main():
            root = Path(sys.argv[1])
            async with EmbeddedServer(root / "server", root / "run", root / "keys") as server:
                print(server.pid, flush=True)
                await asyncio.sleep(60)
        asyncio.run(main())
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True
    ) as owner:
        server_pid = int(owner.stdout.readline())
        owner.kill()

    await until(lambda: not alive(server_pid))
    async with server_in(tmp_path) as server:
        assert await command(server, "PING") in {True, "PONG"}


async def test_a_leftover_server_is_ended_before_the_next_starts(tmp_path):
    """A server whose owner died without taking it along does not share its data with a new one."""
    first = server_in(tmp_path)
    await first.start()
    first._watch.cancel()
    leftover = first.pid
    os.close(first._lock)

    async with server_in(tmp_path) as second:
        assert second.pid != leftover
        await until(lambda: not alive(leftover))
    first._lock = None
    await first.stop()


async def test_a_long_folder_name_moves_the_socket(tmp_path):
    """Socket paths have a limit; beyond it a short private folder is used and removed again."""
    root = tmp_path / ("long" * 30)
    async with server_in(root) as server:
        assert await command(server, "PING") in {True, "PONG"}
        folder = server.socket_path.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    assert folder != root / "run"
    assert not folder.exists()


async def test_folders_with_spaces_and_quotes_work(tmp_path):
    """The configuration file quotes what it names, and so does the URL."""
    async with server_in(tmp_path / 'a "b" c%20d') as server:
        assert await command(server, "PING") in {True, "PONG"}


async def test_a_server_that_cannot_start_says_why(tmp_path):
    """The reason is the server's own last words, and no process is left."""
    (tmp_path / "server").mkdir(mode=0o700)
    (tmp_path / "server" / "appendonlydir").write_text("no folder")
    server = server_in(tmp_path)

    with pytest.raises(StoreUnreachable, match="did not start"):
        await server.start()

    assert server.pid == 0


async def test_a_machine_without_a_server_program_gets_advice(tmp_path, monkeypatch):
    """The hint says how to get one and how to go without."""
    monkeypatch.setattr("mas_core.store.server_program.find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ConfigurationError) as caught:
        await server_in(tmp_path).start()

    assert "sudo apt-get install redis-server" in caught.value.hint
