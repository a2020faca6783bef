"""Data loss prevention: find sensitive data in payloads and block, redact or report it.

A payload is scanned as a parsed tree: keys, strings, numbers as text, neighbouring parts put together and
what is encoded in them. It does not understand meaning: a secret told in words, or under a cipher of the
sender's own, passes.
"""

from mas_core.security.dlp.document import JsonValue
from mas_core.security.dlp.packs import RulePack, load_pack
from mas_core.security.dlp.rules import Rule
from mas_core.security.dlp.scanner import Scanner, ScanResult

__all__ = ["JsonValue", "Rule", "RulePack", "ScanResult", "Scanner", "load_pack"]
