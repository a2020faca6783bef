"""S16: the ways to write a secret so that a scanner overlooks it, for a number, a card and a key."""

import base64
import gzip
import html
import json
import zlib

import pytest

from mas_core.model.json_text import encode_json
from mas_core.security.dlp import Scanner, load_pack

SSN = "123-45-6789"
CARD = "4111 1111 1111 1111"
KEY = "AKIA" + "JB4QW7EXAMPL3K2Z"
SECRETS = {"ssn": SSN, "card": CARD, "key": KEY}
SCANNER = Scanner(load_pack())
LOOK_ALIKES = str.maketrans("AKBEX", "\u0410\u041a\u0412\u0415\u0425")


def digits(secret):
    return secret.replace("-", "").replace(" ", "")


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def parts(secret):
    return secret.replace("-", " ").split() if " " in secret or "-" in secret else [secret[:7], secret[7:]]


def as_number(kind):
    def form(secret):
        number = kind(digits(secret)) if digits(secret).isdigit() else secret
        return {"ssn": number} if secret == SSN else {"n": number}

    return form


def separated(separator):
    return lambda s: (
        s.replace("-", separator).replace(" ", separator) if s != KEY else separator.join([s, "x"])
    )


def shifted(base):
    return lambda s: "".join(chr(base + int(c)) if c.isdigit() else c for c in s)


MATRIX = {
    "plain": lambda s: {"note": s},
    "as a key": lambda s: {s: 1},
    "as an int": as_number(int),
    "as a float": as_number(float),
    "full-width": lambda s: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in s),
    "Arabic-Indic digits": shifted(0x0660),
    "zero-width joined": "\u200b".join,
    "soft hyphen": "\u00ad".join,
    "no-break space": separated("\u00a0"),
    "en dash": separated("\u2013"),
    "dots": separated("."),
    "base64": b64,
    "base64url": lambda s: base64.urlsafe_b64encode(f"{s}??".encode()).decode().rstrip("="),
    "hex": lambda s: s.encode().hex(),
    "percent": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "gzip and base64": lambda s: b64(gzip.compress(s.encode())),
    "zlib and base64": lambda s: b64(zlib.compress(f"it is {s}".encode())),
    "zlib in hex": lambda s: zlib.compress(f"it is {s}".encode()).hex(),
    "UTF-16 and base64": lambda s: b64(s.encode("utf-16")),
    "UTF-16 big endian and base64": lambda s: b64(s.encode("utf-16-be")),
    "UTF-16 in hex": lambda s: s.encode("utf-16-le").hex(),
    "HTML entities": lambda s: "".join(f"&#{ord(c)};" for c in html.unescape(s)),
    "\\uXXXX": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "JSON in a string": lambda s: json.dumps({"a": [s]}),
    "a list of parts": parts,
    "parts over several fields": lambda s: {f"k{i}": part for i, part in enumerate(parts(s))},
    "a list of digits": lambda s: list(digits(s)) if s != SSN else {"ssn": digits(s)},
    "newline split": lambda s: "\n".join(parts(s)),
    "reversed": lambda s: {"note": s[::-1]},
    "Cyrillic look-alikes": lambda s: s.translate(LOOK_ALIKES),
    "cut over two fields": lambda s: (
        {"a": s[: len(s) // 2], "b": s[len(s) // 2 :]}
        if s == KEY
        else {"a": parts(s)[0], "b": parts(s)[1], "c": parts(s)[2], "d": (*parts(s), "x")[3]}
    ),
    "split between key and value": lambda s: (
        {s[:9]: s[10:] if s == CARD else s[9:]} if s != SSN else {"123-45": "6789"}
    ),
    "glued to letters": lambda s: f"x{s}x" if s != KEY else f"x{s}_",
    "glued to underscores": lambda s: f"_{s}_",
}
ALONE = {
    **{
        f"header of a private key, {kind}": {"k": f"-----BEGIN {kind}-----\nMIIE"}
        for kind in (
            "PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "DSA PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "PGP PRIVATE KEY BLOCK",
        )
    },
    "password as key and value": {"password": "hunter2"},
    "Bearer": {"h": "Bearer aB3dE5gH1jK7mN9pQ2sT4vW6"},
    "IBAN in small letters": "de89370400440532013000",
    "IBAN in small letters, in groups": "de89 3704 0044 0532 0130 00",
}


def is_caught(value):
    """As the gateway does it: the first look at the text, then the close one."""
    return bool(SCANNER.suspects([encode_json(value)])) and SCANNER.scan(value).action in {
        "redact",
        "block",
        "unscannable",
    }


def test_s16_evasion_matrix():
    """S16: every form of every secret is caught; the message shows the whole matrix."""
    caught = {
        form: {kind: is_caught(write(s)) for kind, s in SECRETS.items()} for form, write in MATRIX.items()
    }
    shown = "\n".join(
        f"{form:30} " + "  ".join(f"{kind}: {'caught' if row[kind] else 'MISSED'}" for kind in SECRETS)
        for form, row in caught.items()
    )

    assert len(MATRIX) >= 31
    for kind in SECRETS:
        assert sum(row[kind] for row in caught.values()) == len(MATRIX), f"\n{shown}"


@pytest.mark.parametrize("form", ALONE)
def test_s16_forms_without_a_number(form):
    """S16: headers of keys, passwords and tokens beside their names, and IBANs in small letters are caught."""
    assert is_caught(ALONE[form])


def test_s16_text_that_only_looks_like_a_form_passes():
    """S16: what is written backwards, over lines or in two parts and is no secret is left alone."""
    for value in (
        {"id": "1111111111111112", "note": "9876-54-000"},
        {"4111 1111": "1111 1112"},
        "AKIA is\nthe beginning of a key",
        {"when": "1732186607000004"},
        b64(zlib.compress(b"nothing to see here")),
    ):
        assert SCANNER.scan(value).action == "pass", value
