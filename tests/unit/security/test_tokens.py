"""Tokens and the keys that derive from them."""

from __future__ import annotations

import base64
import traceback

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mas_core.errors import TokenInvalid
from mas_core.security.tokens import agent_key, derive_keys, key_id_of, new_token

GATEWAY = X25519PrivateKey.from_private_bytes(b"g" * 32).public_key().public_bytes_raw()
TOKEN = new_token(GATEWAY)


def private_bytes(keys):
    return keys.seal_key.private_bytes_raw(), keys.signing_key.private_bytes_raw()


def test_tokens_are_recognisable_and_never_the_same():
    """A token starts with mas_, has only characters that need no quoting, and is new each time."""
    tokens = {new_token(GATEWAY) for _ in range(100)}

    assert len(tokens) == 100
    for token in tokens:
        assert token.startswith("mas_")
        assert token.replace("_", "").replace("-", "").isalnum()
        assert token.isascii()


def test_keys_derive_as_documented():
    """HKDF-SHA-256 over the token's 32 random bytes, with purpose and agent id as info."""
    text = TOKEN.removeprefix("mas_")
    secret = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:32]

    keys = derive_keys(TOKEN, "billing")

    assert private_bytes(keys) == tuple(
        HKDF(SHA256(), 32, salt=None, info=f"mas/{purpose}/billing".encode()).derive(secret)
        for purpose in ("seal", "sign")
    )
    assert keys.agent_id == "billing"
    assert keys.key_id == key_id_of(keys.seal_key.public_key().public_bytes_raw())
    assert len(keys.key_id) == 16
    assert (keys.gateway_public_key, keys.gateway_key_id) == (GATEWAY, key_id_of(GATEWAY))


def test_the_same_token_gives_the_same_keys():
    """Space around a token, as files have it, does not matter."""
    assert private_bytes(derive_keys(TOKEN, "a")) == private_bytes(derive_keys(f" {TOKEN}\n", "a"))


def test_agents_and_purposes_have_keys_of_their_own():
    """No key comes twice, not even when one token is used for two agents."""
    keys = [*private_bytes(derive_keys(TOKEN, "a")), *private_bytes(derive_keys(TOKEN, "b"))]

    assert len(set(keys)) == 4


def test_the_registry_gets_public_keys_only():
    """What is stored holds neither the token nor a private key."""
    keys = derive_keys(TOKEN, "a")

    stored = agent_key(keys, created=5, expires=9)

    assert (stored.key_id, stored.created, stored.expires) == (keys.key_id, 5, 9)
    assert bytes.fromhex(stored.seal_key) == keys.seal_key.public_key().public_bytes_raw()
    assert bytes.fromhex(stored.signing_key) == keys.signing_key.public_key().public_bytes_raw()
    for secret in private_bytes(keys):
        assert secret.hex() not in repr(stored)


def test_printing_keys_shows_no_secret():
    """Neither the keys nor where they lie in memory get into logs."""
    keys = derive_keys(TOKEN, "a")

    assert "Private" not in repr(keys)
    assert TOKEN not in repr(keys)
    for secret in private_bytes(keys):
        assert repr(secret) not in repr(keys)
        assert secret.hex() not in repr(keys)


def swapped(position):
    return TOKEN[:position] + ("A" if TOKEN[position] != "A" else "B") + TOKEN[position + 1 :]


@pytest.mark.parametrize(
    "token",
    [
        "",
        "mas_",
        TOKEN[4:],
        "MAS_" + TOKEN[4:],
        TOKEN[:-1],
        TOKEN[:-10],
        TOKEN + "A",
        TOKEN + "AAAA",
        TOKEN * 2,
        TOKEN[:20] + TOKEN[21:],
        TOKEN[:20] + " " + TOKEN[20:],
        TOKEN[:20] + "\n" + TOKEN[21:],
        TOKEN[:20] + "\u00e9" + TOKEN[21:],
        TOKEN[:20] + "\u0430" + TOKEN[21:],
        TOKEN[:20] + "\x00" + TOKEN[21:],
        TOKEN[:20] + "=" + TOKEN[21:],
        TOKEN[:20] + "\ud800" + TOKEN[21:],
        "mas_" + "A" * (len(TOKEN) - 4),
        "mas_" + "A" * 100_000,
    ],
    ids=lambda token: f"{len(token)} characters",
)
def test_what_is_no_token_is_refused(token):
    """The one error of its kind, which never repeats the text."""
    with pytest.raises(TokenInvalid, match="Authentication failed") as caught:
        derive_keys(token, "a")

    shown = "".join(traceback.format_exception_only(caught.value)) + " ".join(caught.value.hint)
    assert TOKEN[8:20] not in shown
    assert "A" * 20 not in shown


def test_a_mistyped_character_is_found():
    """Whichever character of a token is wrong, it is told from a token that belongs to somebody else."""
    for position in range(4, len(TOKEN) - 1):
        with pytest.raises(TokenInvalid, match="mistyped"):
            derive_keys(swapped(position), "a")
