"""Certificates that do not count any more although they have not ended: changes to the policy that says so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from mas_core.errors import UsageError
from mas_core.model.policy import PolicyDocument, RevokedCertificate

REMEMBERED_MS: Final = 86_400_000
"""How long a revocation stays after its certificate has ended, for servers whose clocks are behind."""

_SERIAL = re.compile(r"[0-9a-f]{1,40}")


def with_revoked(
    document: PolicyDocument, certificates: Mapping[str, RevokedCertificate], now: int
) -> PolicyDocument:
    """The document in which certificates are revoked; those that have ended anyway are forgotten.

    Args:
        document: The policy so far.
        certificates: Serial number -> what is known of it; what is revoked already stays as it is.
        now: Unix milliseconds.
    """
    before = document.revoked_certificates
    added = {serial: item for serial, item in certificates.items() if serial not in before}
    if not added:
        return document
    kept = {serial: item for serial, item in before.items() if not _is_over(item, now)}
    names = ", ".join(
        f"{serial} ({item.holder})" if item.holder else serial for serial, item in added.items()
    )
    return msgspec.structs.replace(
        document, revoked_certificates={**kept, **added}, change=f"revoke the certificate {names}"
    )


def serial_number(text: str) -> str:
    """A serial number as revocations name it, from what tools print: `0A:BC`, `0xabc`, `ABC`.

    Raises:
        UsageError: It is none.
    """
    plain = text.strip().lower().replace(":", "").removeprefix("0x").lstrip("0")
    if not _SERIAL.fullmatch(plain):
        raise UsageError(
            f"{text!r} is no serial number in hexadecimal", hint=("mas cert list", "mas cert inspect FILE")
        )
    return plain


def _is_over(item: RevokedCertificate, now: int) -> bool:
    return 0 < item.expires < now - REMEMBERED_MS
