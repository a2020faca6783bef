"""Whatever stands in a rule pack, it is taken or refused with a place, and nothing else happens."""

import contextlib
import string
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mas_core.errors import ConfigurationError
from mas_core.security.dlp import Scanner, load_pack
from mas_core.security.dlp.patterns import UntranslatableError, backwards, hint, json_form
from mas_core.security.dlp.validators import VALIDATORS

PIECES = [
    *"abcAB019.^$|*+?(){}[]\\-_ :,\"'",
    "(?:", "(?i:", "(?P<n>", "[^", "[a-z]", "[[:alpha:]]", "\\d", "\\b", "\\z", "\\pL", "\\x1f", "\\x{1F600}",
    "{3}", "{2,}", "{1,9}", "{1000}", "(?=", "\\1", "é", "\u200b",
]  # fmt: skip
PATTERN = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
RULE = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["x", "y", "card", "pii", "X-1", ""]),
        "category": st.sampled_from(["pii", "custom", "secret", "other"]),
        "pattern": PATTERN,
        "action": st.sampled_from(["block", "redact", "alert", "off", "encrypt:k", "drop", ""]),
    },
    optional={
        "severity": st.sampled_from(["low", "critical", "huge"]),
        "validator": st.sampled_from(["", "none", *VALIDATORS]),
        "context": st.lists(st.text(max_size=5) | st.sampled_from(["id", "card no"]), max_size=3),
        "window": st.integers(-1, 2000),
        "cut": st.sampled_from(["never", "strings", "scalars", "x"]),
        "backwards": PATTERN,
        "more": st.just(1),
    },
)
EXCEPTION = st.dictionaries(
    st.sampled_from(["rule", "pattern", "hash", "reason"]),
    PATTERN | st.sampled_from(["x", "*", "hmac-sha256:00"]),
)
PACK = st.fixed_dictionaries(
    {"id": st.just("own"), "version": st.sampled_from(["1", 1])},
    optional={
        "rules": st.lists(RULE, max_size=4) | st.none(),
        "allow": st.lists(EXCEPTION, max_size=2) | st.text(max_size=3),
        "extends": st.sampled_from(["builtin", "other", 1]),
        "allow_key_file": st.sampled_from(["none.key", "", 3]),
    },
)
VALUES = [{"card no": "x 123", "a": ["ab", "c1"]}, "aB0 \u200b9", [1, 2.5, None, "id"]]


def load(content):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "pack.yaml"
        path.write_bytes(content)
        return load_pack(path)


@given(PACK)
@settings(deadline=None, max_examples=400)
def test_generated_packs(content):
    """A pack that is taken scans without failing."""
    try:
        scanner = Scanner(load(yaml.safe_dump(content, allow_unicode=True).encode()))
    except ConfigurationError:
        return
    for value in VALUES:
        assert "failed" not in scanner.scan(value).reason


@given(st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode))
@settings(deadline=None, max_examples=400)
def test_arbitrary_bytes(content):
    """Bytes that are no pack are refused."""
    with contextlib.suppress(ConfigurationError):
        load(content)


@given(PATTERN)
@settings(deadline=None, max_examples=1000)
def test_arbitrary_patterns_are_written_anew_or_refused(pattern):
    """A pattern is written anew, or said to be of a kind that cannot be."""
    for write in (hint, json_form, lambda text: json_form(text, "scalars", in_groups=True), backwards):
        with contextlib.suppress(UntranslatableError):
            assert isinstance(write(pattern), str)
