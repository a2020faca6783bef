"""Secrets that are looked for in everything that a system wrote, in the forms that they could have there."""

from __future__ import annotations

import base64
import gzip
import io
import random
import subprocess
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import zstandard

LEAST = 9
"""Shorter forms would be found by chance."""


@dataclass
class Canaries:
    """Known secrets and the forms by which each would be recognised."""

    values: dict[str, str] = field(default_factory=dict)
    """Secret -> what kind it is."""
    forms: dict[bytes, str] = field(default_factory=dict)
    """Form -> which secret it is of, told without it."""

    def add(self, kind: str, value: str | bytes) -> str:
        """Look for `value` too; gives it back as text."""
        text = value if isinstance(value, str) else value.hex()
        name = f"{kind} {sum(known == kind for known in self.values.values())}"
        self.values[text] = kind
        for form, found in forms_of(value):
            if len(found) >= LEAST:
                self.forms.setdefault(found, f"{name}, {form}")
        return text

    @property
    def kinds(self) -> Counter[str]:
        """How many there are of each kind."""
        return Counter(self.values.values())

    def in_texts(self, texts: dict[str, bytes]) -> list[tuple[str, str]]:
        """Which secret is where, in texts that are at hand."""
        return [
            (where, name)
            for where, text in texts.items()
            for form, name in self.forms.items()
            if form in text
        ]

    def in_files(self, files: Iterable[Path], scratch: Path) -> list[tuple[str, str]]:
        """Which secret is in which file; what is packed in a file is unpacked into `scratch` and looked through."""
        scratch.mkdir(exist_ok=True)
        patterns, listed = scratch / "patterns", scratch / "files"
        patterns.write_bytes(b"\n".join(form for form in self.forms if b"\n" not in form))
        looked = [*files, *unpacked(files, scratch / "unpacked")]
        listed.write_bytes(b"\0".join(str(path).encode() for path in looked))
        found = subprocess.run(
            ["xargs", "-0", "-a", listed, "grep", "-F", "-a", "-o", "-H", "-Z", "-f", patterns],
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            timeout=60,
        )
        assert found.returncode in (0, 123), found.stderr
        hits = []
        for line in found.stdout.splitlines():
            where, _, form = line.partition(b"\0")
            hits.append((where.decode(), self.forms[form]))
        raw = {form: name for form, name in self.forms.items() if b"\n" in form}
        hits += [
            (str(path), name)
            for path in looked
            for content in [path.read_bytes()]
            for form, name in raw.items()
            if form in content
        ]
        return sorted(set(hits))


def forms_of(value: str | bytes) -> Iterator[tuple[str, bytes]]:
    """A secret as it could stand in a file."""
    raw = value.encode() if isinstance(value, str) else value
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):
        # Wherever it begins in what was encoded; the signs at both ends depend on what stands beside it.
        text = base64.b64encode(b"\0" * shift + raw)
        inner = text[{0: 0, 1: 2, 2: 3}[shift] : len(text) - (4 if (len(raw) + shift) % 3 else 0)]
        yield f"base64 +{shift}", inner
        yield f"base64url +{shift}", inner.translate(bytes.maketrans(b"+/", b"-_"))
    if isinstance(value, str):
        yield "in a URL", quote(value, safe="").encode()
        yield "backwards", raw[::-1]
        digits = "".join(sign for sign in value if sign.isdigit())
        if len(digits) >= 15 and not set(value) - set("0123456789 -"):
            yield "digits", digits.encode()
            yield "digits backwards", digits[::-1].encode()
            for sign in " -":
                groups = [digits[at : at + 4] for at in range(0, len(digits), 4)]
                yield f"digits with {sign!r}", sign.join(groups).encode()


def unpacked(files: Iterable[Path], folder: Path) -> Iterator[Path]:
    """The contents of zips, gzip and zstd files, each in a file of its own."""
    for number, path in enumerate(files):
        for name, content in _parts(path.read_bytes()):
            to = folder / f"{number}-{path.name}" / name.replace("/", "_")
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(content)
            yield to


def _parts(content: bytes) -> Iterator[tuple[str, bytes]]:
    if content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)
    elif content.startswith(b"\x1f\x8b"):
        yield "gzip", gzip.decompress(content)
    elif content.startswith(b"\x28\xb5\x2f\xfd"):
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True)
        yield "zstd", reader.read()


def card_number(chance: random.Random) -> str:
    """Sixteen digits of a Visa card that pass the Luhn check."""
    digits = [4, *(chance.randrange(10) for _ in range(14))]
    doubled = [sum(divmod(digit * 2, 10)) if at % 2 == 0 else digit for at, digit in enumerate(digits)]
    return "".join(map(str, [*digits, -sum(doubled) % 10]))


def social_security_number(chance: random.Random) -> str:
    """One that could have been given."""
    return f"{chance.randrange(101, 660)}-{chance.randrange(10, 99)}-{chance.randrange(1000, 9999)}"


def word(chance: random.Random, length: int = 28, signs: str = "") -> str:
    """A random word of letters and digits."""
    signs = signs or "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return "".join(chance.choice(signs) for _ in range(length))
