"""S10: the primitives that seals, signatures and encryption stand on, against the vectors of Wycheproof."""

import json
from collections import Counter
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_der_private_key

VECTORS = Path(__file__).parents[2] / "vectors" / "wycheproof"


def ed25519(group, case):
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(group["publicKey"]["pk"]))
    key.verify(bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))
    return True


def x25519(_, case):
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(case["private"]))
    shared = private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(case["public"])))
    return shared.hex() == case["shared"]


def aes_gcm(_, case):
    sealed = bytes.fromhex(case["ct"] + case["tag"])
    opened = AESGCM(bytes.fromhex(case["key"])).decrypt(
        bytes.fromhex(case["iv"]), sealed, bytes.fromhex(case["aad"])
    )
    return opened.hex() == case["msg"]


def hkdf_sha256(_, case):
    salt, info = bytes.fromhex(case["salt"]), bytes.fromhex(case["info"])
    derived = HKDF(SHA256(), case["size"], salt=salt, info=info).derive(bytes.fromhex(case["ikm"]))
    return derived.hex() == case["okm"]


def rsa_oaep(group, case):
    key = load_der_private_key(bytes.fromhex(group["privateKeyPkcs8"]), None)
    padding = OAEP(MGF1(SHA256()), SHA256(), bytes.fromhex(case["label"]))
    return key.decrypt(bytes.fromhex(case["ct"]), padding).hex() == case["msg"]


@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("ed25519", ed25519),
        ("x25519", x25519),
        ("aes_gcm", aes_gcm),
        ("hkdf_sha256", hkdf_sha256),
        ("rsa_oaep_2048_sha256_mgf1sha256", rsa_oaep),
        ("rsa_oaep_3072_sha256_mgf1sha256", rsa_oaep),
    ],
)
def test_s10_no_vector_is_answered_wrongly(name, holds):
    """What is valid is taken, what is invalid is refused; of what may be either, nothing gives a wrong value."""
    found = Counter()
    for group in json.loads((VECTORS / f"{name}.json").read_text())["testGroups"]:
        for case in group["tests"]:
            try:
                taken = holds(group, case)
            except (InvalidSignature, InvalidTag, ValueError):
                taken = None
            right = {"valid": (True,), "invalid": (False, None), "acceptable": (True, None)}[case["result"]]
            found[taken in right] += 1

    assert found[False] == 0
    assert found[True] > 30
