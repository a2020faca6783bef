"""The same secrets in the many forms in which they can be written."""

import base64
import gzip
import html
import json
from urllib.parse import quote

CARD = "4111111111111111"
SSN = "123-45-6789"
KEY = "AKIA" + "JB4QW7EXAMPL3K2Z"

SECRETS = {"card": CARD, "ssn": SSN, "aws_access_key": KEY}


def encoded(text):
    return base64.b64encode(text.encode()).decode()


FORMS = {
    "plain": lambda s: s,
    "in a sentence": lambda s: f"here it is: {s}, thanks",
    "as a key": lambda s: {s: 1},
    "as a key far down": lambda s: {"a": [{"b": {s: None}}]},
    "full-width": lambda s: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in s),
    "arabic-indic digits": lambda s: "".join(chr(0x0660 + int(c)) if c.isdigit() else c for c in s),
    "devanagari digits": lambda s: "".join(chr(0x0966 + int(c)) if c.isdigit() else c for c in s),
    "zero-width": "\u200b".join,
    "soft hyphen": "\u00ad".join,
    "variation selector": "\ufe0f".join,
    "combining stroke": lambda s: "".join(c + "\u0336" for c in s),
    "control characters": "\x00".join,
    "marks of the scanner": "\x1e".join,
    "key marks of the scanner": "\x1f".join,
    "right-to-left override": lambda s: f"\u202e{s}\u202c",
    "cyrillic": lambda s: s.translate(str.maketrans("AKBEX", "\u0410\u041a\u0412\u0415\u0425")),
    "en dash": lambda s: s.replace("-", "\u2013"),
    "no-break space": lambda s: s.replace("-", "\u00a0"),
    "dots": lambda s: s.replace("-", "."),
    "glued": lambda s: f"_{s}_" if s == KEY else f"x{s}x",
    "base64": encoded,
    "base64 in a sentence": lambda s: f"decode {encoded(s)} please",
    "base64url without padding": lambda s: base64.urlsafe_b64encode(f"{s}???".encode()).decode().rstrip("="),
    "base64 after a word": lambda s: f"data_{encoded(s)}",
    "base64 four times": lambda s: encoded(encoded(encoded(encoded(s)))),
    "hex": lambda s: s.encode().hex(),
    "percent": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "percent, some": lambda s: quote(s[:4]) + "".join(f"%{ord(c):02x}" for c in s[4:]),
    "percent, full-width": lambda s: quote("".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in s)),
    "html entities": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "html hex entities": lambda s: "".join(f"&#x{ord(c):x};" for c in s),
    "named entities": lambda s: html.escape(f"<{s}>") + "&amp;",
    "unicode escapes": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "hex escapes": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "gzip and base64": lambda s: base64.b64encode(gzip.compress(f"some text and {s}".encode())).decode(),
    "json in a string": lambda s: json.dumps({"a": s}),
    "json in json in a string": lambda s: json.dumps({"a": json.dumps([s])}),
    "json with escapes": lambda s: '{"a": "' + "".join(f"\\u{ord(c):04x}" for c in s) + '"}',
    "json key in a string": lambda s: json.dumps({s: 1}),
    "json in base64": lambda s: encoded(json.dumps({"a": [s]})),
}
