"""End-to-end encryption: what opens, for whom, and what it is bound to."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mas_core.errors import DecryptionFailed, InvalidPayload
from mas_core.model.encrypted_payload import HPKE, RSA_OAEP, read_encrypted
from mas_core.security.encryption import context_of, decrypt, encrypt

FIELDS = ("mas", "alice", "bob", "x", "m1", "")
CONTEXT = context_of(*FIELDS)
A, B = "a" * 16, "b" * 16
RSA = [generate_private_key(65537, 2048) for _ in range(2)]


def pair(suite):
    return RSA if suite == RSA_OAEP else [X25519PrivateKey.generate() for _ in range(2)]


@pytest.fixture(params=[HPKE, RSA_OAEP])
def suite(request):
    """Each way of wrapping the key of the body."""
    return request.param


def test_every_key_of_the_target_opens_it_and_no_other(suite):
    """While an agent has two keys, instances with either can read."""
    one, other = pair(suite)
    payload = encrypt(suite, {A: one.public_key(), B: other.public_key()}, CONTEXT, b"secret")

    assert decrypt(payload, {A: one}, CONTEXT) == (A, b"secret")
    assert decrypt(payload, {B: other}, CONTEXT) == (B, b"secret")
    for keys in ({A: other}, {"c" * 16: one}, {}):
        with pytest.raises(DecryptionFailed):
            decrypt(payload, keys, CONTEXT)
    assert b"secret" not in msgspec.json.encode(payload)


@pytest.mark.parametrize("position", range(len(FIELDS)))
def test_it_opens_only_as_the_message_that_it_was_made_for(suite, position):
    """System, sender, target, type, id and correlation are bound."""
    one, _ = pair(suite)
    payload = encrypt(suite, {A: one.public_key()}, CONTEXT, b"secret")
    fields = [*FIELDS]
    fields[position] += "2"

    with pytest.raises(DecryptionFailed):
        decrypt(payload, {A: one}, context_of(*fields))


def test_fields_do_not_flow_into_each_other():
    """What is bound has lengths in it."""
    assert context_of("mas", "ab", "c", "x", "m", "") != context_of("mas", "a", "bc", "x", "m", "")


def test_key_ids_are_bound(suite):
    """A key of the target under another id, or one left out, is noticed."""
    one, other = pair(suite)
    payload = encrypt(suite, {A: one.public_key(), B: other.public_key()}, CONTEXT, b"secret")
    renamed = {"c" * 16: payload.keys[A], B: payload.keys[B]}

    with pytest.raises(DecryptionFailed):
        decrypt(msgspec.structs.replace(payload, keys=renamed), {"c" * 16: one}, CONTEXT)
    with pytest.raises(DecryptionFailed):
        decrypt(msgspec.structs.replace(payload, keys={A: payload.keys[A]}), {A: one}, CONTEXT)


def test_a_suite_cannot_be_exchanged(suite):
    """Neither for another that exists nor for one that does not."""
    one, _ = pair(suite)
    payload = encrypt(suite, {A: one.public_key()}, CONTEXT, b"secret")

    for other in ({HPKE, RSA_OAEP} - {suite}) | {"none", ""}:
        with pytest.raises(DecryptionFailed):
            decrypt(msgspec.structs.replace(payload, suite=other), {A: one}, CONTEXT)


def test_no_bit_can_be_changed(suite):
    """Neither in the body nor in the wrapped key."""
    import base64

    one, _ = pair(suite)
    payload = encrypt(suite, {A: one.public_key()}, CONTEXT, b"secret")
    for name in ("body", "key"):
        text = payload.body if name == "body" else payload.keys[A]
        raw = base64.b64decode(text)
        for index in range(0, len(raw), 7):
            bad = base64.b64encode(raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]).decode()
            fields = {"body": bad} if name == "body" else {"keys": {A: bad}}
            with pytest.raises(DecryptionFailed):
                decrypt(msgspec.structs.replace(payload, **fields), {A: one}, CONTEXT)


GOOD = {"v": 1, "suite": "hpke", "keys": {A: "AAAA"}, "body": "AAAA"}


@pytest.mark.parametrize(
    "value",
    [
        {"mas_e2e": None},
        {"mas_e2e": "AAAA"},
        {"mas_e2e": {}},
        {"mas_e2e": {**GOOD, "note": "4111111111111111"}},
        {"mas_e2e": GOOD, "note": "4111111111111111"},
        {"mas_e2e": {**GOOD, "v": 2}},
        {"mas_e2e": {**GOOD, "keys": {}}},
        {"mas_e2e": {**GOOD, "keys": {"4111 1111 1111 11": "AAAA"}}},
        {"mas_e2e": {**GOOD, "keys": {A: "4111 1111"}}},
        {"mas_e2e": {**GOOD, "keys": {f"{n:016x}": "AAAA" for n in range(17)}}},
        {"mas_e2e": {**GOOD, "body": "not base64"}},
        {"mas_e2e": {**GOOD, "body": ""}},
        {"mas_e2e": {**GOOD, "keys": {A: ""}}},
    ],
)
def test_nothing_can_be_hidden_beside_what_is_encrypted(value):
    """Only exactly the one shape is taken for encrypted."""
    with pytest.raises(InvalidPayload):
        read_encrypted(value)


def test_the_one_shape_is_read():
    """What `encrypt` makes comes back as it was."""
    payload = read_encrypted({"mas_e2e": GOOD})

    assert payload.as_payload() == {"mas_e2e": GOOD}
