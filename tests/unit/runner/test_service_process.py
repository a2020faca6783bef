"""The processes of a project: why one ended, as its log says."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from mas_core.errors import ConfigurationError
from mas_core.ops import server_mode
from mas_core.ops.up import _service
from mas_core.runner.service_process import Failure, failure_in
from mas_core.settings.project import project_at

FAILED = (
    '{"event": "server.failed", "code": "config", "reason": "nothing can listen", "hint": ["mas status"]}'
)


async def test_a_server_that_cannot_run_ends_the_start_and_says_why(tmp_path, monkeypatch):
    """Its reason is an event, too, and that it was started again does not say that it is ready."""
    (tmp_path / "mas.yaml").touch()
    (tmp_path / "failing.py").write_text(f"import sys\nprint({FAILED!r}, file=sys.stderr)\nsys.exit(1)\n")
    events = []
    service = _service(project_at(tmp_path), "grpc", "failing", events.append)

    async def none():
        return []

    monkeypatch.setattr(server_mode, "require_certificates", lambda *_: None)
    monkeypatch.setattr(server_mode, "place_of", lambda _: SimpleNamespace(require_in_force=lambda: None))
    system = SimpleNamespace(target=None, agent_servers=none)
    try:
        with pytest.raises(
            ConfigurationError, match="the server of agents cannot run: nothing can listen"
        ) as raised:
            await server_mode.start_server(system, None, [], service, time.monotonic() + 30)
        async with asyncio.timeout(30):
            while len(events) < 2:
                await asyncio.sleep(0.02)
    finally:
        await service.stop()

    assert raised.value.hint == ("mas status",)
    assert events[0].message == "the grpc ended (exit code 1) and is started again: nothing can listen"
    assert events[0].hint == ("mas status",)
    assert (events[1].kind, events[1].state) == ("grpc", "started")


def test_only_what_the_process_itself_wrote_last_is_its_reason(tmp_path):
    """Not what an earlier one wrote; the last line of a traceback where nothing was expected."""
    log = tmp_path / "grpc.log"
    log.write_text(f"{FAILED}\n")
    begin = log.stat().st_size
    nothing = failure_in(log, begin)
    log.write_text(f'{FAILED}\n{{"event": "server.ready"}}\nTraceback:\nImportError: no such file\n\n')

    assert nothing is None
    assert failure_in(log, 0) == Failure("nothing can listen", "config", ("mas status",))
    assert failure_in(log, begin) == Failure("ImportError: no such file")
    assert failure_in(tmp_path / "none.log", 0) is None
