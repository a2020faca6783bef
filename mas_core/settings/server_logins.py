"""Names and passwords of users of the server, kept in private files.

Those of agents lie beside their tokens, those of the system's own roles beside its keys.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from mas_core.base.ids import check_agent_id
from mas_core.base.known_secrets import remember
from mas_core.errors import SecretUnavailable
from mas_core.settings.private_files import private_dir, write_private
from mas_core.settings.secrets import read_secret

Role = Literal["gateway", "front", "auditor", "operator"]
ROLES: Final[tuple[Role, ...]] = ("gateway", "front", "auditor", "operator")

_LOGIN: Final = re.compile(r"(?P<user>[A-Za-z0-9_.-]{1,128}):(?P<password>[A-Za-z0-9_-]{16,256})")


@dataclass(frozen=True, slots=True)
class ServerLogin:
    """A user of the server and its password."""

    user: str
    password: str = field(repr=False)


def new_login(user: str) -> ServerLogin:
    """A login with a password made at random."""
    login = ServerLogin(user, secrets.token_urlsafe(32))
    remember(login.password)
    return login


def agent_login_path(tokens_dir: Path, agent_id: str) -> Path:
    """Where the login of an agent is kept.

    Raises:
        InvalidIdentifier: No agent can have this id.
    """
    return tokens_dir / f"{check_agent_id(agent_id)}.redis"


def role_login_path(keys_dir: Path, role: Role) -> Path:
    """Where the login of one of the system's own roles is kept."""
    return keys_dir / "server-users" / role


def read_login(path: Path | None) -> ServerLogin | None:
    """The login that is kept at `path`; None when there is none.

    Raises:
        SecretUnavailable: Its file is open to others, or holds something else.
    """
    if path is None or not path.exists():
        return None
    found = _LOGIN.fullmatch(read_secret(path))
    if found is None:
        raise SecretUnavailable(f"{path} holds no USER:PASSWORD", hint=f"rm {path}", path=str(path))
    remember(found["password"])
    return ServerLogin(found["user"], found["password"])


def write_login(path: Path, login: ServerLogin) -> Path:
    """Keep a login at `path`, with mode 0600."""
    private_dir(path.parent)
    return write_private(path, f"{login.user}:{login.password}\n".encode())


def url_for(url: str, login: ServerLogin | None) -> str:
    """`url` with the user and the password of `login`; unchanged where there is none."""
    if login is None or url.startswith("memory:"):
        return url
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    user = f"{quote(login.user, safe='')}:{quote(login.password, safe='')}@"
    return urlunsplit(parts._replace(netloc=user + place))


def without_login(url: str) -> str:
    """`url` without user and password: with it nobody comes in where the default user is off."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def has_login(url: str) -> bool:
    """Whether a URL says as whom one comes."""
    return "@" in urlsplit(url).netloc
