"""Where secrets come from: the environment, private files, programs, Azure Key Vault, and plug-ins.

A plug-in is a function `fetch(place) -> str` that an installed package names as an entry point of the group
`mas.secrets`; `vault:SOURCE:PLACE` calls the one called SOURCE with PLACE. It raises
`mas_core.SecretUnavailable` with a reason that may be shown; of any other error only the kind is told, since
its text may hold the secret.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol, cast

from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.settings.private_files import read_private
from mas_core.settings.secrets import MAX_SECRET_BYTES

GROUP: Final = "mas.secrets"
COMMAND_SECONDS: Final = 10.0
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Source = Callable[[str, Path], str]


class SecretSource(Protocol):
    """What a plug-in offers."""

    def __call__(self, place: str, /) -> str:
        """The secret at `place`, which stands after the name of the plug-in.

        Raises:
            SecretUnavailable: It cannot be had.
        """


def source_of(scheme: str) -> Source:
    """What fetches secrets of a scheme: the place after the colon, and the folder of relative paths."""
    return {"env": from_environment, "file": from_file, "cmd": from_command, "vault": from_plugin}.get(
        scheme, _from_azure
    )


def from_environment(place: str, _folder: Path) -> str:
    """A variable of the environment.

    Raises:
        SecretUnavailable: It is not set, or no variable can be called so.
    """
    if not _NAME.fullmatch(place):
        raise SecretUnavailable("no variable can have this name", hint="env:NAME")
    value = os.environ.get(place)
    if value is None:
        raise SecretUnavailable("the variable is not set here", hint=f"read -rs {place} && export {place}")
    return value


def from_file(place: str, folder: Path) -> str:
    """A file that only its owner can read; links are followed, and the file they lead to has to be private.

    Raises:
        SecretUnavailable: It is not there, or others can read it.
    """
    if not place or "\x00" in place:
        raise SecretUnavailable("it names no file", hint="file:PATH")
    path = folder / Path(place.removeprefix("//")).expanduser()
    content = read_private(path.resolve())
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretUnavailable(f"{path} holds no text") from None


def from_command(place: str, folder: Path) -> str:
    """What a program prints on standard output; it gets no input, and what it says on standard error is dropped.

    Raises:
        SecretUnavailable: It cannot be run, fails, takes too long or prints too much.
    """
    try:
        words = shlex.split(place)
    except ValueError:
        raise SecretUnavailable("a quote is not closed", hint="cmd:PROGRAM ARGUMENTS") from None
    if not words:
        raise SecretUnavailable("it names no program", hint="cmd:PROGRAM ARGUMENTS")
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own settings say what runs
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # It could show the secret, and would do so where logs are kept.
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise SecretUnavailable(
            f"the program cannot be run: {error.strerror}", hint=f"command -v {shlex.quote(words[0])}"
        ) from None
    return _output_of(process)


def _output_of(process: subprocess.Popen[bytes]) -> str:
    with process:
        try:
            output = _read_bounded(process)
            code = process.wait(COMMAND_SECONDS)
        except subprocess.TimeoutExpired:
            raise SecretUnavailable(f"the program took longer than {COMMAND_SECONDS:g} s") from None
        finally:
            # Also what it has started and left behind.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if code != 0:
        raise SecretUnavailable(f"the program ended with exit code {code}", hint="run it by hand")
    try:
        return output.decode()
    except UnicodeDecodeError:
        raise SecretUnavailable("the program printed something that is no text") from None


def _read_bounded(process: subprocess.Popen[bytes]) -> bytes:
    """All output, up to the bound and for the time allowed."""
    assert process.stdout is not None  # noqa: S101 - made with a pipe
    deadline = time.monotonic() + COMMAND_SECONDS
    output = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not waiting.select(left):
                raise subprocess.TimeoutExpired(process.args, COMMAND_SECONDS)
            part = os.read(process.stdout.fileno(), 65_536)
            if not part:
                return output
            output += part
            if len(output) > MAX_SECRET_BYTES:
                raise SecretUnavailable(f"the program printed more than {MAX_SECRET_BYTES} bytes")


def from_plugin(place: str, _folder: Path) -> str:
    """What an installed plug-in fetches.

    Raises:
        SecretUnavailable: There is no such plug-in, or it failed.
    """
    name, colon, inner = place.partition(":")
    if not (name and colon):
        raise SecretUnavailable("it names no plug-in", hint="vault:SOURCE:PLACE")
    installed = entry_points(group=GROUP)
    found = {entry.name: entry for entry in installed}.get(name)
    if found is None:
        known = ", ".join(sorted(installed.names)) or "none"
        raise SecretUnavailable(
            f"no plug-in for {name!r} is installed; there is: {known}", hint="pip install PLUGIN"
        )
    try:
        value = cast("SecretSource", found.load())(inner)
    except SecretUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way, and its words may hold the secret
        raise SecretUnavailable(f"the plug-in {name} failed with {type(error).__name__}") from None
    if not isinstance(value, str):
        raise SecretUnavailable(f"the plug-in {name} gave no text")
    return value


def _from_azure(place: str, _folder: Path) -> str:
    try:
        from mas_core.settings.azure_vault import from_azure  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise ConfigurationError(
            "a secret is in Azure Key Vault, and the library for that is not installed",
            hint="pip install 'mas[azure]'",
        ) from None
    return from_azure(place)
