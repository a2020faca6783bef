"""Where health and metrics are served, and when something counts as stuck."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LOOPBACK = "127.0.0.1"
_ADDRESS = re.compile(r"(?:(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):)?(?P<port>[0-9]{1,5})", re.ASCII)


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int
    """0 for any that is free."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str, *, allow_remote: bool = False) -> Address:
    """An address from `9464`, `127.0.0.1:9464` or `[::1]:9464`.

    Raises:
        ValueError: It is none, or others than this machine would reach it and that is not allowed; the second
            line of the text says what to write instead.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise ValueError(f"{text!r} is no address\nwrite a port such as 9464, or 127.0.0.1:9464")
    address = Address((found["host"] or LOOPBACK).strip("[]"), int(found["port"]))
    if not address.is_loopback and not allow_remote:
        raise ValueError(
            f"{address} is reached from other machines, and whoever asks there needs no password\n"
            f"listen on {address.port}, or allow it with  allow_remote: true  (--allow-remote)"
        )
    return address


class HealthSettings(BaseModel):
    """Where health is served, and its limits."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    gateway: int | str | None = None
    """Port, or host:port, where a gateway answers /health and /metrics; nowhere when not given."""
    runner: int | str | None = None
    """The same of `mas up` and `mas agent run`."""
    allow_remote: bool = False
    """Whether these may be addresses that other machines reach; whoever asks needs no password."""
    agent_stuck_s: float = Field(default=60, gt=0, le=86_400)
    """Seconds without a settled message, while some wait, after which an agent is red; a spec may say else."""
    gateway_stuck_s: float = Field(default=5, gt=0, le=3600)
    """Seconds without a message taken, while some wait, after which a partition is red."""

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for text in (self.gateway, self.runner):
            if text is not None:
                read_address(str(text), allow_remote=self.allow_remote)
        return self

    def address_of(self, text: int | str | None) -> Address | None:
        """One of the addresses, as an address."""
        return None if text is None else read_address(str(text), allow_remote=self.allow_remote)
