"""Context: words of which one must stand near a match, or in a key above it, for the match to count."""

from __future__ import annotations

import re

from mas_core.security.dlp.rules import Rule


def context_pattern(rule: Rule) -> str:
    """A pattern for any of a rule's context words, in any case, as a word or a hump of camelCase."""
    words = [r"[\s_-]*".join(map(re.escape, word.split())) for word in rule.context]
    humps = "|".join(f"{word[0].upper()}(?i:{word[1:]})" for word in words)
    tail = "(?i:s|no|num|number|code|id|value)?(?:[^a-z]|$)"
    return f"(?:(?:^|[^A-Za-z])(?i:{'|'.join(words)})|[a-z](?:{humps})){tail}"
