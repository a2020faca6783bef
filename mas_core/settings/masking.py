"""Settings as they may be shown: without their secrets."""

from __future__ import annotations

import re

from mas_core.base.known_secrets import hidden

MASK = "****"

_SUSPECT = r"password|passwd|secret|token|credential|api_?key"
_SECRET_NAME = re.compile(_SUSPECT, re.IGNORECASE)
_USER_PASSWORD = re.compile(r"(://[^:/?#@]*):.*@", re.DOTALL)
_BARE_PASSWORD = re.compile(r"^([^:/?#@\s]*):(?!//)[^\s]*@")
"""Of a URL whose scheme was forgotten."""
_SECRET_PARAMETER = re.compile(rf"([?&][^=&#]*(?:{_SUSPECT})[^=&#]*=)[^&#]*", re.IGNORECASE)

_SECRETS = re.compile(
    r"(?P<url>://)[^/\s'\"]*@"
    r"|(?P<name>(?:token|password|passwd|secret|api_?key)['\"]?\s*[=:]\s*)['\"]?[^\s'\",;)]+"
    r"|\b(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{32,}\b",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret."""
    return bool(_SECRET_NAME.search(name))


def mask_url(url: str) -> str:
    """`url` with its password and every parameter that is a secret replaced."""
    bare = _BARE_PASSWORD.sub(rf"\1:{MASK}@", url)
    return _SECRET_PARAMETER.sub(rf"\1{MASK}", _USER_PASSWORD.sub(rf"\1:{MASK}@", bare))


def mask_urls(text: str) -> str:
    """`text` with the passwords of the URLs in it replaced."""
    return re.sub(r"\w+://\S+", lambda found: mask_url(found[0]), text)


def masked(name: str, value: object) -> object:
    """`value` of the setting `name`, fit to be shown."""
    if isinstance(value, str) and value:
        return MASK if is_secret(name) else mask_url(value)
    return value


def without_known_secrets(text: str) -> str:
    """`text` with the secrets masked that this process has read."""
    return hidden(text)


def without_secrets(text: str) -> str:
    """`text` with passwords in URLs, named secrets, long random words and what this process has read masked."""

    def masked(match: re.Match[str]) -> str:
        if match["url"]:
            return "://****@"
        return f"{match['name']}****" if match["name"] else "****"

    return _SECRETS.sub(masked, hidden(text))
