"""The process of one instance: `python -m mas_core.runner.instance_process`, started by the supervisor.

It reads its launch from standard input, runs the agent until SIGTERM or until standard input ends (then
the supervisor is gone), drains, and ends. Another line on standard input retires it: it finishes what it has
in hand, however long that takes, and ends then. Exit code 0 is a clean end, 77 (EX_NOPERM of sysexits.h) a
token that is refused or missing, 1 everything else. Standard error, where its logs go, is the log file of the
instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mas_core.base.event_loop import run
from mas_core.base.logs import get_logger, log_to_stderr
from mas_core.base.stop_signals import on_input, told_to_stop
from mas_core.errors import (
    AgentNotFound,
    ConfigurationError,
    MasError,
    NotFound,
    Refused,
    SecretUnavailable,
    Unauthenticated,
    UsageError,
)
from mas_core.resilience.retry_policy import RetryPolicy
from mas_core.runner.class_loading import ClassLoader
from mas_core.runner.launch import Launch, Report
from mas_core.settings.masking import without_secrets
from mas_core.settings.private_files import read_token
from mas_core.settings.retries import AgentRetries
from mas_core.settings.secrets import resolve
from mas_core.settings.tls_files import TlsFiles

if TYPE_CHECKING:
    from mas_core.agent import Agent

log = get_logger(__name__)

TOKEN_REFUSED = os.EX_NOPERM

FINISH_LOOK_S = 1.0
"""How often one that retires looks whether it has to end sooner."""

_LASTING = (ConfigurationError, UsageError, NotFound, Refused)
"""Failures that another attempt without a change would only repeat."""

_ABOUT_TOKENS = (Unauthenticated, AgentNotFound, SecretUnavailable)
"""Failures that end once an operator gives the agent another token, or registers it again."""


def main() -> int:
    """Run the instance that standard input describes; returns the exit code."""
    log_to_stderr()
    launch = msgspec.json.decode(sys.stdin.buffer.readline(), type=Launch)
    os.set_inheritable(launch.status_fd, False)
    with os.fdopen(launch.status_fd, "wb", buffering=0) as status:
        code = 1
        try:
            return run(_run(launch, status.write))
        except MasError as error:
            wants_token = isinstance(error, _ABOUT_TOKENS)
            code = TOKEN_REFUSED if wants_token else 1
            agent_id = str(launch.spec.get("agent_id", ""))
            log.error("agent.ended", agent=agent_id, code=error.code, reason=error.message, exit_code=code)
            report = Report(
                kind="failed",
                message=error.message,
                code=error.code,
                hint=list(error.hint),
                retryable=error.retryable or not isinstance(error, _LASTING),
                wants_token=wants_token,
            )
        except Exception as error:  # noqa: BLE001 - whatever the agent's code raises ends this process only
            _write_traceback()
            # It goes to the server and into other logs.
            said = without_secrets(f"{type(error).__name__}: {error}")
            report = Report(kind="failed", message=said, code="agent_crashed")
        with contextlib.suppress(OSError):
            status.write(msgspec.json.encode(report) + b"\n")
    return code


async def _run(launch: Launch, report: Any) -> int:
    end, retire = told_to_stop(), asyncio.Event()
    # That standard input ends means that the supervisor has ended.
    on_input(ended=end.set, told=retire.set)
    loader = ClassLoader(map(Path, launch.class_folders), launch.class_prefixes)
    agent = make_agent(launch, loader)
    program_ended: asyncio.Event = getattr(agent, "ended", None) or asyncio.Event()
    ending = asyncio.create_task(end.wait())
    starting = asyncio.create_task(agent.start())
    await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, MasError):
            await starting
        return 0
    starting.result()
    watching = asyncio.create_task(program_ended.wait())
    leaving = asyncio.create_task(agent.evicted.wait())
    retiring = asyncio.create_task(retire.wait())
    try:
        ready = Report(kind="ready", files=loader.imported_files())
        with contextlib.suppress(OSError):
            report(msgspec.json.encode(ready) + b"\n")
        ends = {ending, watching, leaving}
        await asyncio.wait({*ends, retiring}, return_when=asyncio.FIRST_COMPLETED)
        while not any(task.done() for task in ends) and not await agent.drain(FINISH_LOOK_S):
            pass
    finally:
        await agent.stop(drain_timeout=launch.drain_s)
        retiring.cancel()
        ending.cancel()
        watching.cancel()
        leaving.cancel()
    agent.check_not_evicted()
    if program_ended.is_set() and not end.is_set():
        ended = Report(kind="failed", message=f"the program of {agent.id} has ended", code="program_ended")
        with contextlib.suppress(OSError):
            report(msgspec.json.encode(ended) + b"\n")
        return 1
    return 0


def make_agent(launch: Launch, loader: ClassLoader) -> Agent[Any]:
    """The agent of the spec, connected as the supervisor said.

    Raises:
        SpecInvalid: Its class cannot be used.
        SecretUnavailable: Its token or a secret of its spec is not at hand.
    """
    spec, connection = launch.agent_spec(), launch.connection
    arguments: dict[str, Any] = {
        "redis_url": connection.url,
        "namespace": connection.namespace,
        "partitions": connection.partitions,
        "tls": TlsFiles(*map(Path, connection.tls)) if connection.tls else None,
        "token": read_token(Path(connection.tokens_dir), spec.agent_id),
        "capabilities": spec.capabilities,
        "metadata": spec.metadata,
        "max_in_flight": spec.max_in_flight,
        "slot": launch.slot,
        "delivery": spec.delivery,
        "ordered": spec.ordered,
    }
    given = {name: value for name, value in arguments.items() if value}
    if spec.retry is not None:
        given["retry"] = policies_of(spec.retry)
    if spec.handler_timeout is not None:
        given["handler_timeout"] = spec.handler_timeout
    secrets = {name: resolve(text, Path(launch.folder)) for name, text in spec.secrets.items()}
    if spec.class_path is not None:
        return loader.load(spec.class_path)(spec.agent_id, **given, **{**spec.init_kwargs, **secrets})
    from mas_core.runner.exec_agent import ExecAgent  # noqa: PLC0415 - classes need none of it

    return ExecAgent(
        spec.agent_id,
        command=spec.command or [],
        mode=spec.mode,
        field=spec.field,
        types=spec.types,
        timeout=spec.timeout,
        folder=Path(launch.folder),
        secrets=secrets,
        **given,
    )


def policies_of(retries: AgentRetries) -> dict[str, RetryPolicy]:
    """The retry policies that a spec says, by pattern of message types."""
    policies = {}
    for glob, fields in retries.by_type().items():
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        policies[glob] = RetryPolicy(**options)
    return policies


def _write_traceback() -> None:
    sys.excepthook(*sys.exc_info())


if __name__ == "__main__":
    sys.exit(main())
