"""What the environment says to an agent that is started by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mas_core.errors import ConfigurationError
from mas_core.model.retry import MAX_ATTEMPTS
from mas_core.settings.tls_files import BearerFile, TlsFiles

IN_MEMORY = "memory://"


@dataclass(frozen=True)
class AgentEnvironment:
    """Defaults of an agent; an argument of its constructor wins over each."""

    agent_id: str | None = None
    """`MAS_AGENT_ID` or `AGENT_ID`."""
    url: str | None = None
    """`MAS_URL` or `REDIS_URL`; `memory://` when `AGENT_COMMUNICATION_MODE` is `mock`."""
    tls: TlsFiles | None = None
    """`MAS_TLS_CERT_PATH`, `MAS_TLS_KEY_PATH` and `MAS_TLS_CA_PATH`: who the agent is to a server of agents."""
    bearer: BearerFile | None = None
    """`MAS_BEARER_PATH`, with `MAS_TLS_CA_PATH` or without: the same where a proxy ends TLS before that server."""
    request_timeout_s: float = 30.0
    """`MAS_AGENT_DEFAULT_TIMEOUT` or `AGENT_DEFAULT_TIMEOUT`: seconds that a request waits."""
    max_retries: int | None = None
    """`MAS_AGENT_MAX_RETRIES` or `AGENT_MAX_RETRIES`: attempts after the first, where nothing else is said."""
    heartbeat_interval_s: float = 30.0
    """`MAS_AGENT_HEARTBEAT_INTERVAL` or `AGENT_HEARTBEAT_INTERVAL`, in seconds."""


def read_agent_environment(environ: Mapping[str, str] = os.environ) -> AgentEnvironment:
    """The defaults that the environment gives to agents.

    Raises:
        ConfigurationError: A variable that should be a positive number is none.
    """
    url = environ.get("MAS_URL") or environ.get("REDIS_URL") or None
    if environ.get("AGENT_COMMUNICATION_MODE") == "mock":
        url = IN_MEMORY
    defaults = AgentEnvironment()
    retries = _number(environ, "AGENT_MAX_RETRIES", -1, above=-1)
    return AgentEnvironment(
        agent_id=environ.get("MAS_AGENT_ID") or environ.get("AGENT_ID") or None,
        url=url,
        tls=None if _bearer(environ) else _tls(environ),
        bearer=_bearer(environ),
        request_timeout_s=_number(environ, "AGENT_DEFAULT_TIMEOUT", defaults.request_timeout_s, above=0),
        max_retries=None if retries < 0 else min(int(retries), MAX_ATTEMPTS - 1),
        heartbeat_interval_s=_number(
            environ, "AGENT_HEARTBEAT_INTERVAL", defaults.heartbeat_interval_s, above=0
        ),
    )


def _bearer(environ: Mapping[str, str]) -> BearerFile | None:
    if not (path := environ.get("MAS_BEARER_PATH")):
        return None
    ca_path = environ.get("MAS_TLS_CA_PATH")
    return BearerFile(Path(path), Path(ca_path) if ca_path else None)


def _tls(environ: Mapping[str, str]) -> TlsFiles | None:
    names = ("MAS_TLS_CERT_PATH", "MAS_TLS_KEY_PATH", "MAS_TLS_CA_PATH")
    found = [environ.get(name) for name in names]
    if not any(found):
        return None
    missing = [name for name, value in zip(names, found, strict=True) if not value]
    if missing:
        raise ConfigurationError(
            f"{' and '.join(missing)} is not set, and the other variables of the certificate are",
            hint=f"export {missing[0]}=FILE",
        )
    return TlsFiles(*(Path(str(value)) for value in found))


def _number(environ: Mapping[str, str], name: str, default: float, *, above: float) -> float:
    for variable in (f"MAS_{name}", name):
        if text := environ.get(variable):
            try:
                value = float(text)
            except ValueError:
                value = float("nan")
            if above < value < float("inf"):
                return value
            raise ConfigurationError(
                f"{variable} should be a number above {above:g}", hint=f"unset {variable}", variable=variable
            )
    return default
