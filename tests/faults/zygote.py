"""A parent that has imported everything: processes forked from it are real ones and start in no time.

`python -m tests.faults.zygote` takes an order a line on standard input and tells a line on standard output of every
process that it started, that ended, or that stopped. Its children die with it, and it dies with its input.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mas_core.gateway.policy_compiler import PolicyCompiler
from mas_core.model.policy import PolicyDocument
from mas_core.security.dlp import load_pack

ROOT = Path(__file__).parents[2]
GATEWAY = "tests.faults.zygote:gateway"
NOTARY = "tests.faults.zygote:notary"
_PRELOADED = (
    "mas_core.gateway.__main__",
    "mas_core.gateway.process",
    "mas_core.audit.__main__",
    "mas_core.agent.agent",
    "mas_core.ops.system",
    "tests.faults.load",
    "uvloop",
    "yaml",
)


def gateway(_arguments: dict[str, Any]) -> int:
    """What `python -m mas_core.gateway` runs."""
    return _run("mas_core.gateway.__main__")


def notary(_arguments: dict[str, Any]) -> int:
    """What `python -m mas_core.audit` runs."""
    return _run("mas_core.audit.__main__")


def _run(program: str) -> int:
    os.umask(0o077)
    return int(importlib.import_module(program).main())


def main() -> None:
    """Serve orders until standard input ends."""
    for name in _PRELOADED:
        importlib.import_module(name)
    # Its patterns are compiled once and kept for every policy.
    PolicyCompiler(load_pack(None)).compile(PolicyDocument())
    gc.collect()
    gc.freeze()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = b""
    _tell({"ready": os.getpid()})
    while True:
        readable, _, _ = select.select([0, reader], [], [])
        if reader in readable:
            os.read(reader, 4096)
            _reap()
        if 0 in readable:
            text = os.read(0, 65536)
            if not text:
                return
            orders += text
            *lines, orders = orders.split(b"\n")
            for line in lines:
                _start(json.loads(line), (reader, writer))


def _start(order: dict[str, Any], ours: Sequence[int]) -> None:
    pid = os.fork()
    if pid:
        _tell({"id": order["id"], "pid": pid})
        return
    _become(order, ours)


def _become(order: dict[str, Any], ours: Sequence[int]) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for descriptor in (log, nothing, *ours):
            os.close(descriptor)
        os.chdir(order["folder"])
        os.environ.update(order["environ"])
        from mas_core.base.failpoints import armed

        if armed is not None:
            armed.arm(os.environ.get("MAS_FAILPOINT", ""))
        sys.argv = [order["role"]]
        module, _, name = order["role"].partition(":")
        code = getattr(importlib.import_module(module), name)(order["arguments"]) or 0
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            _tell({"stopped": pid})
        else:
            _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(what: Mapping[str, object]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


class Process:
    """A process that the zygote started."""

    def __init__(self, pid: int, role: str) -> None:
        self.pid = pid
        self.role = role
        self.code: int | None = None
        """Exit code, negative for a signal; None while it runs."""
        self.ended = asyncio.Event()
        self.stopped = asyncio.Event()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return not self.ended.is_set()

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        if number == signal.SIGCONT:
            self.stopped.clear()
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it as by `kill -9`; returns when it is gone."""
        self.signal(signal.SIGKILL)
        await self.ended.wait()

    async def end(self, seconds: float = 30) -> None:
        """Ask it to end, and wait until it has.

        Raises:
            TimeoutError: It has not in time, and was killed.
        """
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.ended.wait(), seconds)
        except TimeoutError:
            await self.kill()
            raise TimeoutError(f"{self.role} ({self.pid}) did not end within {seconds:g} s") from None


class Zygote:
    """The harness' side of the parent.

    Args:
        environ: Variables for it and all its children, beside those of this process.
        prefix: Command before it, such as `ip netns exec NAME`.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> None:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAS_", "GATEWAY_"))
        }
        self._environ = {**clean, "MAS_TESTING": "1", **(environ or {})}
        self._prefix = prefix
        self._number = 0
        self._starting: dict[int, asyncio.Future[int]] = {}
        self._early: dict[int, dict[str, Any]] = {}
        self.processes: dict[int, Process] = {}

    async def start(self) -> None:
        """Start it; returns when it has imported everything."""
        self._parent = await asyncio.create_subprocess_exec(
            *self._prefix, sys.executable, "-m", "tests.faults.zygote",
            cwd=ROOT, env=self._environ, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._parent.stdout is not None
        line = await self._parent.stdout.readline()
        assert line, "the parent of the processes under test did not start"
        self._listening = asyncio.create_task(self._listen(self._parent.stdout))

    async def stop(self) -> None:
        """End it and everything that it started."""
        self._listening.cancel()
        assert self._parent.stdin is not None
        for process in self.processes.values():
            process.signal(signal.SIGKILL)
        self._parent.stdin.close()
        await self._parent.wait()

    async def spawn(
        self,
        role: str,
        folder: Path,
        log: Path,
        environ: Mapping[str, str] | None = None,
        **arguments: object,
    ) -> Process:
        """Start a process.

        Args:
            role: `module:function`; it gets the arguments as a dict and gives back an exit code.
            folder: Where it works.
            log: Gets what it writes.
            environ: Variables of its own.
            arguments: What can be written as JSON.
        """
        self._number += 1
        waiting = self._starting[self._number] = asyncio.get_running_loop().create_future()
        order = {
            "id": self._number, "role": role, "folder": str(folder), "log": str(log),
            "environ": dict(environ or {}), "arguments": arguments,
        }  # fmt: skip
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(order).encode() + b"\n")
        pid = await waiting
        process = self.processes[pid] = Process(pid, role)
        if (news := self._early.pop(pid, None)) is not None:
            self._note(process, news)
        return process

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            news = json.loads(line)
            if "id" in news:
                self._starting.pop(news["id"]).set_result(news["pid"])
                continue
            pid = news.get("ended") or news.get("stopped")
            if pid in self.processes:
                self._note(self.processes[pid], news)
            else:
                self._early[pid] = news

    def _note(self, process: Process, news: Mapping[str, Any]) -> None:
        if "stopped" in news:
            process.stopped.set()
            return
        process.code = news["code"]
        process.ended.set()
        del self.processes[process.pid]


if __name__ == "__main__":
    main()
