"""What makes a record ours: a MAC under a key that is not in the store."""

from __future__ import annotations

from typing import Protocol

MAC_SIZE = 32


class Macs(Protocol):
    """Makes and checks MACs; `mas_core.security.gateway_keys.GatewayKeys` is one."""

    def mac(self, purpose: str, data: bytes) -> bytes:
        """The MAC of `data`; `purpose` keeps kinds of records apart."""

    def check_mac(self, purpose: str, data: bytes, mac: bytes) -> bool:
        """Whether `mac` is the MAC of `data` for `purpose`."""


def signed(macs: Macs, purpose: str, data: bytes) -> bytes:
    """`data` with its MAC in front."""
    return macs.mac(purpose, data) + data


def verified(macs: Macs, purpose: str, text: bytes) -> bytes | None:
    """The data of `signed`, or None when the MAC is not right."""
    mac, data = text[:MAC_SIZE], text[MAC_SIZE:]
    return data if macs.check_mac(purpose, data, mac) else None
