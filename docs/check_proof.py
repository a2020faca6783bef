"""python check_proof.py PROOF KEY: is a record in the signed log? KEY is a file of keys, or name+hash+base64.

Needs cryptography for Ed25519, and nothing of mas. Exit code 0 if it is.
"""
import base64, hashlib, json, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()

def checked(proof, keys):
    text, _, lines = proof["checkpoint"].partition("\n\n")
    origin, size, root = text.split("\n")[:3]
    signatures = [line[2:].rsplit(" ", 1) for line in lines.splitlines()]
    for name, key_hash, public in (key.split("+", 2) for key in keys):
        found = [base64.b64decode(data) for signer, data in signatures if signer == name]
        for signature in (data for data in found if data[:4].hex() == key_hash and origin.startswith(name + "/")):
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public)[1:])
            key.verify(signature[4:], (text + "\n").encode())  # raises when it is wrong
            return is_in_tree(proof, int(size), base64.b64decode(root))
    return False

def is_in_tree(proof, size, root):
    place, last, hashes = proof["index"], size - 1, base64.b64decode(proof["hashes"])
    if not 0 <= place <= last or json.loads(proof["record"])["seq"] != place + 1:
        return False
    found = hashlib.sha256(b"\0" + proof["record"].encode()).digest()
    for step in (hashes[at : at + 32] for at in range(0, len(hashes), 32)):
        is_right = place % 2 == 1 or place == last
        found = node(step, found) if is_right else node(found, step)
        while is_right and place % 2 == 0 and place:
            place, last = place // 2, last // 2
        place, last = place // 2, last // 2
    return last == 0 and found == root

if __name__ == "__main__":
    data, key = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    is_proven = checked(data, key.read_text().split() if key.exists() else [sys.argv[2]])
    sys.exit(print(f"proven: {data['record']}") if is_proven else "NOT proven")
