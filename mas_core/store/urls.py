"""What the URL of a store says: one server, a Cluster, or a master that sentinels name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from redis.asyncio.connection import parse_url

Address = tuple[str, int]

_GROUP: Final = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>cluster|sentinel)://"
    r"(?:(?P<user>[^/?#]*)@)?(?P<hosts>[^/?#@]+)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\],]+)(?::(?P<port>[0-9]{1,5}))?")
_PORTS: Final = {"cluster": 6379, "sentinel": 26379}
_SENTINEL_SECRETS: Final = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """A URL, read."""

    kind: Literal["server", "cluster", "sentinel"]
    options: Mapping[str, Any]
    """User, password, database and TLS, and the place of a single server, as redis-py reads them."""
    addresses: tuple[Address, ...] = ()
    """Where to ask first: nodes of the Cluster, or sentinels."""
    service: str = ""
    """What the sentinels call the master."""
    sentinel_options: Mapping[str, Any] | None = None
    """User, password and TLS for the sentinels."""


def read_store_url(url: str) -> StoreUrl:
    """Read a URL: redis://, rediss://, unix://, redis+cluster://, redis+sentinel:// and those with rediss+.

    Raises:
        ValueError: It is none of these.
    """
    if not url.startswith(("redis+", "rediss+")):
        return StoreUrl("server", dict(parse_url(url)))
    found = _GROUP.fullmatch(url)
    if found is None:
        raise ValueError("a group has a URL like redis+cluster://HOST:PORT,HOST:PORT")
    kind: Literal["cluster", "sentinel"] = "cluster" if found["kind"] == "cluster" else "sentinel"
    addresses = tuple(_address(text, _PORTS[kind]) for text in found["hosts"].split(","))
    service, database = _place(kind, found["path"] or "")
    user = f"{found['user']}@" if found["user"] else ""
    options = dict(parse_url(f"{found['scheme']}://{user}group/{database}?{found['query'] or ''}"))
    del options["host"]
    secrets = {name.removeprefix("sentinel_"): options.pop(name, None) for name in _SENTINEL_SECRETS}
    for_sentinels = {
        name: value for name, value in options.items() if name not in ("username", "password", "db")
    }
    for_sentinels |= {name: value for name, value in secrets.items() if value}
    return StoreUrl(kind, options, addresses, service, for_sentinels)


def user_of(url: str) -> str:
    """As whom one comes with a URL; empty where it does not say, or cannot be read."""
    try:
        return str(read_store_url(url).options.get("username") or "")
    except ValueError:
        return ""


def safe_url(url: str) -> str:
    """`url` without its passwords, for messages and logs."""
    if "://" not in url and not url.startswith("memory:"):
        # no scheme: whatever stands before the host may be a password
        user, at, rest = url.partition("?")[0].rpartition("@")
        return f"***@{rest}" if at else user + rest
    parts = urlsplit(url)
    netloc = parts.netloc
    if "@" in netloc:
        user, _, host = netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}:***@{host}"
    items = (item.partition("=") for item in parts.query.split("&") if item)
    query = "&".join(
        f"{name}{sign}{'***' if name.endswith('password') else value}" for name, sign, value in items
    )
    shown = urlunsplit(("", netloc, parts.path, query, ""))
    return f"{parts.scheme}:{shown if shown.startswith('//') else '//' + shown}"


def _address(text: str, port: int) -> Address:
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no HOST:PORT")
    return unquote(found["host"].strip("[]")), int(found["port"] or port)


def _place(kind: str, path: str) -> tuple[str, int]:
    """Service and database in the path."""
    parts = [unquote(part) for part in path.split("/") if part]
    service = ""
    if kind == "sentinel":
        if not parts:
            raise ValueError("the name of the service is missing: redis+sentinel://HOST:PORT,HOST:PORT/NAME")
        service, *parts = parts
    database = int(parts.pop(0)) if parts else 0
    if parts or database < 0 or (kind == "cluster" and database):
        raise ValueError("a Cluster has the database 0 only" if kind == "cluster" else "too long a path")
    return service, database
