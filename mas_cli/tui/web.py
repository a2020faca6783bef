"""The dashboard in a web browser, through textual-serve, which knows no passwords: the door is here.

Nothing is served before the visitor has shown a secret: the key in the address that is printed, or the
password of --password-file. Pages of other sites cannot speak to it either: `Host` and `Origin` are checked,
and the cookie is not sent along from elsewhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
import secrets
import shlex
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mas_core.errors import ConfigurationError, UsageError
from mas_core.settings.private_files import read_private

if TYPE_CHECKING:
    from aiohttp import web

    from mas_cli.invocation import Invocation

COOKIE: Final = "mas_tui"
SHORTEST_PASSWORD: Final = 12
PAUSE_AFTER_WRONG_S: Final = 1.0
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Where to serve, and to whom."""

    host: str
    port: int
    allow_remote: bool = False
    password_file: Path | None = None


class Door:
    """Decides who is let in.

    Args:
        password: What has to be typed; empty where the key in the address does.
        names: Hosts, with ports, by which it may be called; none is any.
    """

    def __init__(self, password: str, names: frozenset[str]) -> None:
        self._password = password
        self._names = names
        self.key = secrets.token_urlsafe(24)
        """Stands in the address that is printed, where there is no password."""
        self._session = secrets.token_urlsafe(32)

    def is_addressed(self, request: web.Request) -> bool:
        """Whether it was called by its own name, and by a page of its own."""
        host = request.headers.get("Host", "")
        origin = request.headers.get("Origin")
        is_own_page = origin is None or origin.partition("://")[2] == host
        return is_own_page and (not self._names or host in self._names)

    def is_open(self, request: web.Request) -> bool:
        """Whether the visitor has been let in before, or shows the secret now."""
        if _is_same(request.cookies.get(COOKIE, ""), self._session):
            return True
        if not self._password:
            return _is_same(request.query.get("key", ""), self.key)
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            typed = b64decode(rest, validate=True).decode().partition(":")[2]
        except ValueError:
            return False
        return _is_same(typed, self._password)

    async def answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let a request through, or answer it here."""
        from aiohttp import web

        if not self.is_addressed(request):
            return web.Response(status=403, text="this is not the address of this dashboard\n")
        if not self.is_open(request):
            if request.headers.get("Authorization") or "key" in request.query:
                await asyncio.sleep(PAUSE_AFTER_WRONG_S)
            challenge = {"WWW-Authenticate": 'Basic realm="mas", charset="UTF-8"'} if self._password else {}
            told = (
                "a password is needed\n" if self._password else "open the address that mas tui --serve says\n"
            )
            return web.Response(status=401, text=told, headers=challenge)
        if "key" in request.query:
            # The key does not stay in the address line, where it could be seen and copied.
            response: web.StreamResponse = web.Response(status=303, headers={"Location": "/"})
            response.set_cookie(COOKIE, self._session, httponly=True, samesite="Strict")
            return response
        return await handler(request)

    async def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """Give a visitor that was let in by password the cookie, which sockets need; and keep pages apart."""
        response.headers.update(_HEADERS)
        if self._password and response.status < 400 and COOKIE not in request.cookies:
            response.set_cookie(COOKIE, self._session, httponly=True, samesite="Strict")


def _is_same(one: str, other: str) -> bool:
    # Hashed first: comparing would tell the length.
    return hmac.compare_digest(hashlib.sha256(one.encode()).digest(), hashlib.sha256(other.encode()).digest())


def door_of(options: WebOptions) -> Door:
    """The door that the options ask for.

    Raises:
        UsageError: Other machines would be served, and that was not allowed, or without a password.
        SecretUnavailable: The password cannot be read, or can be read by others.
    """
    is_local = _is_loopback(options.host)
    if not is_local and not options.allow_remote:
        raise UsageError(
            f"{options.host} can be reached from other machines", hint="--allow-remote --password-file FILE"
        )
    if not is_local and options.password_file is None:
        raise UsageError(
            "other machines are served with a password only",
            hint="--password-file FILE, of mode 600; and HTTPS in front of it",
        )
    password = ""
    if options.password_file is not None:
        password = read_private(options.password_file).decode(errors="replace").strip()
        if len(password) < SHORTEST_PASSWORD:
            raise UsageError(f"the password has fewer than {SHORTEST_PASSWORD} characters")
    names = {f"{name}:{options.port}" for name in (options.host, "localhost", "127.0.0.1", "[::1]")}
    return Door(password, frozenset(names) if is_local else frozenset())


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def serve_dashboard(call: Invocation, options: WebOptions, screen: str, replay: Path | None) -> None:
    """Serve the dashboard until cancelled; every visitor has one of their own.

    Raises:
        ConfigurationError: The extra `web` is not installed, or the port is taken.
        UsageError, SecretUnavailable: As `door_of`.
    """
    door = door_of(options)
    if call.flags.url and (call.flags.context or call.flags.config):
        raise UsageError("--serve takes one of --url, --context and --config")
    try:
        from aiohttp import web
        from textual_serve.server import Server
    except ModuleNotFoundError:
        raise ConfigurationError(
            "--serve needs the extra `web`, which is not installed", hint="pip install 'mas[web]'"
        ) from None
    shown = f"[{options.host}]" if ":" in options.host else options.host
    server = _quiet(Server)(
        _command(call, screen, replay), host=options.host, port=options.port, title="mas",
        public_url=f"http://{shown}:{options.port}",
    )  # fmt: skip
    application = await server._make_app()  # noqa: SLF001 - serve() would take over signals and standard output

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        return await door.answer(request, handler)

    application.middlewares.append(guard)
    application.on_response_prepare.append(door.mark)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, options.host, options.port).start()
        except OSError as error:
            raise ConfigurationError(
                f"{options.host}:{options.port} cannot be used: {error.strerror}", hint="--port N"
            ) from None
        key = "" if options.password_file is not None else f"?key={door.key}"
        call.talk.warn(f"open http://{shown}:{options.port}/{key} ; Ctrl-C ends it")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _quiet(kind: Any) -> Any:
    """The server without its greeting, and with addresses of the page that was asked for."""

    class Quiet(kind):  # type: ignore[misc]
        async def on_startup(self, app: object) -> None:
            """Say nothing."""

        async def handle_index(self, request: web.Request) -> Any:
            """The page, for the name that it was called by."""
            self.public_url = f"{request.scheme}://{request.host}"
            return await super().handle_index(request)

    return Quiet


def _command(call: Invocation, screen: str, replay: Path | None) -> str:
    """The command that runs the dashboard of one visitor; a URL, which may hold a secret, goes by environment."""
    flags = call.flags
    words = [sys.executable, "-m", "mas_cli", "tui", "--screen", screen]
    words += ["--config", flags.config] if flags.config else []
    words += ["--context", flags.context] if flags.context else []
    words += ["--read-only"] if flags.read_only else []
    words += ["--replay", str(replay.resolve())] if replay is not None else []
    if flags.url:
        os.environ["MAS_URL"] = flags.url
    return shlex.join(words)
