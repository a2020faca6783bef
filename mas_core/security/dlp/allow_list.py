"""Exceptions: what is let pass although a rule finds it, as patterns or as keyed hashes of exact values.

A hash keeps the value itself out of the pack; without the key nobody can try values against it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import re2

from mas_core.security.dlp.rules import Rule
from mas_core.settings.private_files import read_private
from mas_core.settings.yaml_documents import YamlDocument

HASH_PREFIX: Final = "hmac-sha256:"

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False


class Exemption(msgspec.Struct, frozen=True):
    """One value, or one kind of values, that a rule is not meant to find."""

    rule: str
    """Rule id, category, or `*`."""
    pattern: str = ""
    """RE2 that the found text must match in full."""
    digest: str = ""
    """Keyed hash of the found text, in hex."""
    key: bytes = b""
    reason: str = ""


def value_hash(key: bytes, text: str) -> str:
    """The keyed hash under which a value stands in an allow-list: of its letters and digits in lower case."""
    return hmac.new(key, _canonical(text).encode(), hashlib.sha256).hexdigest()


class AllowList:
    """Tells whether something that was found is on the list."""

    def __init__(self, exemptions: Iterable[Exemption]) -> None:
        self._patterns: defaultdict[str, list[Any]] = defaultdict(list)
        self._digests: defaultdict[str, dict[bytes, set[str]]] = defaultdict(lambda: defaultdict(set))
        for exemption in exemptions:
            if exemption.pattern:
                self._patterns[exemption.rule].append(re2.compile(exemption.pattern, _OPTIONS))
            else:
                self._digests[exemption.rule][exemption.key].add(exemption.digest)

    def holds(self, rule: Rule, text: Callable[[], str]) -> bool:
        """Whether the text that a rule found is let pass."""
        for name in (rule.id, rule.category, "*"):
            if any(pattern.fullmatch(text()) for pattern in self._patterns.get(name, ())):
                return True
            if any(
                value_hash(key, text()) in digests for key, digests in self._digests.get(name, {}).items()
            ):
                return True
        return False


def parse_exemption(
    entry: object, number: int, document: YamlDocument, key_file: object, folder: Path
) -> Exemption:
    """One entry of `allow:` in a rule pack.

    Raises:
        SpecInvalid: It makes no sense; names the line.
        ConfigurationError: The key file cannot be read.
    """
    if not isinstance(entry, dict):
        raise document.error("an entry of allow is a mapping with rule and pattern or hash", "allow", number)
    fields = {"rule", "pattern", "hash", "reason"}
    if entry.keys() - fields or not all(isinstance(value, str) and value for value in entry.values()):
        raise document.error(
            "an entry of allow has rule, pattern or hash, and reason, all text", "allow", number
        )
    rule, pattern, digest = entry.get("rule", ""), entry.get("pattern", ""), entry.get("hash", "")
    if not rule or bool(pattern) == bool(digest):
        raise document.error("an entry of allow has a rule, and either pattern or hash", "allow", number)
    if pattern:
        try:
            re2.compile(pattern, _OPTIONS)
        except re2.error as error:
            raise document.error("RE2 does not take the pattern", "allow", number, "pattern") from error
        return Exemption(rule, pattern=pattern, reason=entry.get("reason", ""))
    if not re2.fullmatch(r"hmac-sha256:[0-9a-f]{64}", digest):
        raise document.error(
            "a hash looks like hmac-sha256: and 64 hex digits", "allow", number, "hash", hint="mas dlp hash"
        )
    if not isinstance(key_file, str) or not key_file:
        raise document.error(
            "hashes need the file with their key", "allow", number, hint="allow_key_file: allow.key"
        )
    key = read_private(folder / key_file)
    return Exemption(
        rule, digest=digest.removeprefix(HASH_PREFIX), key=key.strip(), reason=entry.get("reason", "")
    )


def _canonical(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()
