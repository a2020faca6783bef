"""Files and folders that only their owner can read, written whole or not at all.

Guards against other users of the machine, not against the same user or root.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mas_core.base.ids import check_agent_id
from mas_core.errors import ConfigurationError, Conflict, SecretUnavailable

MAX_PRIVATE_BYTES = 1_000_000


def private_dir(path: Path) -> Path:
    """The folder at `path`, made with its parents when missing, with mode 0700.

    Raises:
        ConfigurationError: Something else is there: a link, a file, somebody else's folder.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            if stat.S_IMODE(found.st_mode) & 0o077:
                path.chmod(0o700)
            return path
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used as a folder: {error.strerror}") from error
    raise ConfigurationError(f"{path} is not a folder of yours", hint=f"mv {path} {path}.old", path=str(path))


def write_private(path: Path, content: bytes) -> Path:
    """Put `content` at `path` with mode 0600: readers see the file before or after, never a part of it.

    A link at `path` is replaced, not followed.

    Raises:
        ConfigurationError: The folder does not take it.
    """
    with private_writer(path) as file:
        file.write(content)
    return path


@contextmanager
def private_writer(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that becomes `path`, with mode 0600, when the block ends well; else nothing changes.

    Raises:
        ConfigurationError: The folder does not take it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}", path=str(path)) from error
        raise


def read_private(path: Path) -> bytes:
    """What stands in the private file at `path`.

    Raises:
        SecretUnavailable: It is not there, is a link or no plain file, is open to others, or is too large.
    """
    try:
        with os.fdopen(
            os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb"
        ) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise SecretUnavailable(f"{path} is not a plain file", path=str(path))
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise SecretUnavailable(
                    f"{path} can be read by other users", hint=f"chmod 600 {path}", path=str(path)
                )
            content = file.read(MAX_PRIVATE_BYTES + 1)
    except OSError as error:
        raise SecretUnavailable(f"{path} cannot be read: {error.strerror}", path=str(path)) from error
    if len(content) > MAX_PRIVATE_BYTES:
        raise SecretUnavailable(f"{path} is larger than {MAX_PRIVATE_BYTES} bytes", path=str(path))
    return content


def token_path(tokens_dir: Path, agent_id: str) -> Path:
    """Where the token of `agent_id` is kept.

    Raises:
        InvalidIdentifier: No agent can have this id.
    """
    return tokens_dir / f"{check_agent_id(agent_id)}.token"


def write_token(tokens_dir: Path, agent_id: str, token: str) -> Path:
    """Keep the token of `agent_id` for the commands and agents of this machine."""
    return write_private(token_path(tokens_dir, agent_id), token.encode() + b"\n")


def check_token_place(tokens_dir: Path, agent_id: str) -> None:
    """Make sure that a token of `agent_id` can be kept here.

    Raises:
        Conflict: It is kept elsewhere: the file holds a reference.
    """
    from mas_core.settings.secrets import is_reference, shown_reference  # noqa: PLC0415 - as for `read_token`

    path = token_path(tokens_dir, agent_id)
    if not path.exists():
        return
    text = read_private(path).decode("utf-8", "replace").strip()
    if is_reference(text):
        raise Conflict(
            f"the token of {agent_id} is kept in {shown_reference(text)}",
            hint=(f"mas agent token rotate {agent_id} --show", f"rm {path}"),
            agent_id=agent_id,
        )


def read_token(tokens_dir: Path, agent_id: str) -> str:
    """The token of `agent_id`: what its file holds, or what the reference in it leads to.

    Raises:
        SecretUnavailable: There is none, its file is open to others, or the reference leads nowhere.
    """
    path = token_path(tokens_dir, agent_id)
    if not path.exists():
        raise SecretUnavailable(
            f"the token of {agent_id} is not at hand in {tokens_dir}",
            hint=(f"mas agent register {agent_id}", f"mas agent token rotate {agent_id}"),
            agent_id=agent_id,
        )
    from mas_core.settings.secrets import read_secret  # noqa: PLC0415 - it reads private files itself

    return read_secret(path)
