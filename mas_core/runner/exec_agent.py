"""An agent that is any program: messages go in as lines of JSON or as plain text, answers come out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import SecretStr

from mas_core.agent import Agent
from mas_core.errors import AgentFailed, ConfigurationError, InvalidPayload, RequestTimedOut, UsageError
from mas_core.model.message import AgentMessage

ANSWER_BYTES = 1_000_000
END_SECONDS = 5.0

_ENVELOPE_FIELDS = {"id", "type", "data", "error"}


class ExecAgent(Agent[dict[str, object]]):
    """Bridges an agent to a program.

    In mode `stream` one process reads a line for each message,
    `{"id", "type", "sender", "data", "expects_reply"}`, and answers each request with one line: the
    payload of the reply, or `{"id", "data"}`, or `{"id", "error"}`. Answers with an id may come in any
    order, answers without one belong to the oldest open request. In mode `per_message` the program runs
    once for each message: the chosen field of the payload is its standard input and its standard output
    is the reply's `output`.

    Args:
        agent_id: Who it is.
        command: The program and its arguments.
        mode: stream or per_message.
        field: For per_message, the field that becomes the standard input; the whole payload when None.
        types: The message types that it takes; all when empty.
        timeout: Seconds until an answer counts as missing.
        folder: Where the program runs.
        secrets: Further variables of its environment.
        **kwargs: What every agent takes.

    Raises:
        ConfigurationError: There is no such program.
    """

    def __init__(
        self,
        agent_id: str,
        *,
        command: Sequence[str],
        mode: Literal["stream", "per_message"] = "stream",
        field: str | None = None,
        types: Sequence[str] = (),
        timeout: float = 30.0,
        folder: Path | None = None,
        secrets: Mapping[str, SecretStr] | None = None,
        **kwargs: Any,
    ) -> None:
        # It limits each answer by itself.
        super().__init__(agent_id, **{"handler_timeout": 0.0, **kwargs})
        program = command[0]
        if not shutil.which((folder or Path()) / program if "/" in program else program):
            raise ConfigurationError(f"there is no program {program!r}", hint=f"command -v {program}")
        self.ended = asyncio.Event()
        """Set when the program of mode `stream` has ended by itself."""
        self._command = list(command)
        self._mode = mode
        self._field = field
        self._types = frozenset(types)
        self._answer_timeout = timeout
        self._folder = folder
        self._secrets = dict(secrets or {})
        self._stream: _Stream | None = None

    async def on_start(self) -> None:
        """Start the program."""
        if self._mode == "stream":
            self._stream = await self._open_stream()

    async def on_stop(self) -> None:
        """Let the program end."""
        if self._stream:
            stream, self._stream = self._stream, None
            await stream.close()

    async def on_message(self, message: AgentMessage) -> object:
        """Hand the message to the program; returns its answer.

        Raises:
            UsageError: The agent does not take messages of this type.
            AgentFailed: The program failed, or its answer is none.
            RequestTimedOut: It did not answer in time.
        """
        if self._types and message.message_type not in self._types:
            raise UsageError(
                f"{self.id} does not take messages of type {message.message_type}",
                hint=f"types: {', '.join(sorted(self._types))}",
            )
        if self._mode == "per_message":
            return {"output": await self._run_once(message)}
        return await self._ask(message)

    async def _run_once(self, message: AgentMessage) -> str:
        process = await self._start(limit=ANSWER_BYTES)
        try:
            async with asyncio.timeout(self._answer_timeout):
                output = await _converse(process, self._input_of(message))
                code = await process.wait()
        except TimeoutError:
            raise RequestTimedOut(
                f"{self._command[0]} did not end within {self._answer_timeout:g} s",
                target=self.id,
                seconds=self._answer_timeout,
            ) from None
        finally:
            await _end(process)
        if code:
            raise AgentFailed(f"{self._command[0]} ended with {_ending(code)}", exit_code=code)
        if len(output) > ANSWER_BYTES:
            raise AgentFailed(f"{self._command[0]} wrote more than {ANSWER_BYTES} bytes")
        return output.decode("utf-8", "replace").rstrip("\n")

    def _input_of(self, message: AgentMessage) -> bytes:
        if self._field is None:
            return msgspec.json.encode(message.data) + b"\n"
        if self._field not in message.data:
            raise InvalidPayload(
                f"the payload of {message.message_type} needs the field {self._field!r}", field=self._field
            )
        value = message.data[self._field]
        return value.encode() if isinstance(value, str) else msgspec.json.encode(value)

    async def _ask(self, message: AgentMessage) -> dict[str, Any] | None:
        if self._stream is None or self._stream.is_closed:
            raise AgentFailed(f"{self._command[0]} is not running")
        stream = self._stream
        try:
            return await stream.exchange(message, self._answer_timeout)
        except TimeoutError:
            if not stream.answers_by_id and self._stream is stream:
                # Without ids a late answer would be taken for that of the next request.
                self._stream = await self._open_stream()
                await stream.close(at_once=True)
            raise RequestTimedOut(
                f"{self._command[0]} did not answer within {self._answer_timeout:g} s",
                target=self.id,
                seconds=self._answer_timeout,
            ) from None

    async def _open_stream(self) -> _Stream:
        process = await self._start(limit=2 * ANSWER_BYTES)
        return _Stream(process, self._command[0], self._on_end)

    async def _start(self, *, limit: int) -> asyncio.subprocess.Process:
        secrets = {name: secret.get_secret_value() for name, secret in self._secrets.items()}
        return await _start(self._command, self._folder, {**os.environ, **secrets}, limit=limit)

    def _on_end(self, stream: _Stream) -> None:
        if stream is self._stream:
            self.ended.set()


class _Stream:
    """One running program and the requests that it has not answered yet."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, on_end: Any) -> None:
        self.answers_by_id = False
        self.is_closed = False
        self._process = process
        self._name = name
        self._on_end = on_end
        self._open: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._writing = asyncio.Lock()
        self._reading = asyncio.create_task(self._read(), name=f"answers of {name}")

    async def exchange(self, message: AgentMessage, timeout: float) -> dict[str, Any] | None:
        """The program's answer to `message`; None at once when it asks for none."""
        line = {
            "id": message.message_id,
            "type": message.message_type,
            "sender": message.sender_id,
            "data": message.data,
            "expects_reply": message.expects_reply,
        }
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                async with self._writing:
                    if message.expects_reply:
                        self._open[message.message_id] = answer
                    await self._write(msgspec.json.encode(line) + b"\n")
                return await answer if message.expects_reply else None
        finally:
            self._open.pop(message.message_id, None)

    async def close(self, *, at_once: bool = False) -> None:
        """Close the program's input and wait for its end; kill it when it takes too long."""
        self.is_closed = True
        assert self._process.stdin is not None  # noqa: S101 - made with a pipe
        self._process.stdin.close()
        if not at_once:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), END_SECONDS)
        await _end(self._process)
        await self._reading

    async def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 - made with a pipe
        try:
            self._process.stdin.write(line)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise AgentFailed(f"{self._name} does not read its input any more") from None

    async def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - made with a pipe
        try:
            while line := await self._process.stdout.readline():
                if line.strip():
                    self._take(line)
        except ValueError:
            await _end(self._process)
        finally:
            self.is_closed = True
            for answer in self._open.values():
                if not answer.done():
                    answer.set_exception(AgentFailed(f"{self._name} ended before it answered"))
            self._on_end(self)

    def _take(self, line: bytes) -> None:
        """Give one line of output to the request that it answers."""
        try:
            value = msgspec.json.decode(line)
        except msgspec.DecodeError:
            value = msgspec.UNSET
        named = value.pop("id", None) if isinstance(value, dict) else None
        if isinstance(named, str):
            self.answers_by_id = True
            answer = self._open.get(named)
        else:
            answer = next((waiting for waiting in self._open.values() if not waiting.done()), None)
        if answer is None or answer.done():
            return
        if value is msgspec.UNSET:
            answer.set_exception(AgentFailed(f"{self._name} answered with a line that is no JSON"))
        elif isinstance(value, dict) and "error" in value and value.keys() <= _ENVELOPE_FIELDS:
            answer.set_exception(AgentFailed(f"{self._name}: {str(value['error'])[:500]}"))
        elif (
            isinstance(value, dict)
            and isinstance(value.get("data"), dict)
            and value.keys() <= _ENVELOPE_FIELDS
        ):
            answer.set_result(value["data"])
        else:
            answer.set_result(value if isinstance(value, dict) else {"output": value})


async def _start(
    command: list[str], folder: Path | None, environ: Mapping[str, str], *, limit: int
) -> asyncio.subprocess.Process:
    """Start the program; what it says on standard error goes to the log of the instance."""
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=folder,
            env=environ,
            limit=limit,
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigurationError(
            f"the program {command[0]!r} cannot be run: {error.strerror}", hint=f"command -v {command[0]}"
        ) from error


async def _converse(process: asyncio.subprocess.Process, text: bytes) -> bytes:
    """Write all input and read the output, up to one byte more than is allowed."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - made with pipes

    async def write(pipe: asyncio.StreamWriter) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # a program may end without reading; uvloop raises RuntimeError for a write after that
            if not pipe.is_closing():
                pipe.write(text)
                await pipe.drain()
            pipe.close()

    writing = asyncio.create_task(write(process.stdin))
    try:
        output = b""
        while len(output) <= ANSWER_BYTES and (part := await process.stdout.read(65536)):
            output += part
        if len(output) > ANSWER_BYTES:
            await _end(process)
        return output
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing


async def _end(process: asyncio.subprocess.Process) -> None:
    """Make sure that the program and what it started are gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
