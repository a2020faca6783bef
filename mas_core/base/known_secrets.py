"""Secrets that this process has read: they are taken out of whatever it logs or says about errors.

The last of several guards: nothing should put them there in the first place.
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

MASK: Final = "****"
_LEAST: Final = 8
"""Shorter ones are words that stand in many texts."""

_known: set[str] = set()


def remember(secret: str) -> None:
    """Take this out of texts from now on."""
    if len(secret) >= _LEAST:
        in_json = (json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
        _known.update((secret, quote(secret, safe=""), quote(secret), *in_json))


def hidden(text: str) -> str:
    """`text` without the secrets that this process has read."""
    # A longer one may hold a shorter one.
    for secret in sorted((secret for secret in _known if secret in text), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text
