"""Signed notes and verifier keys as C2SP has them."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mas_core.audit.note import Note, SignerKey, VerifierKey, last_note, notes_in, sign_note
from mas_core.errors import NoteInvalid


def _signer(name: str = "mas/0011223344556677/audit") -> SignerKey:
    return SignerKey(name, Ed25519PrivateKey.generate())


def test_a_note_is_text_empty_line_and_signature_lines():
    """Em dash, name, and base64 of the key's hash and the signature."""
    signer = _signer()

    note = sign_note("origin\n5\n", [signer])

    text, signatures = note.split(b"\n\n")
    mark, name, encoded = signatures.decode().rstrip("\n").split(" ")
    assert (text, mark, name) == (b"origin\n5", "\u2014", signer.name)
    data = base64.b64decode(encoded)
    assert data[:4] == signer.public.hash
    signer.private_key.public_key().verify(data[4:], b"origin\n5\n")


def test_a_verifier_key_is_read_as_it_was_written():
    """Name, four bytes of a hash in hex, and base64 of type and key."""
    key = _signer().public

    text = str(key)

    assert VerifierKey.parse(text) == key
    assert text.split("+")[1] == key.hash.hex()
    assert base64.b64decode(text.split("+", 2)[2])[0] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("audit", "audit2", 1),
        lambda text: text[:-4] + "AAAA",
        lambda text: text.replace("+", " ", 1),
        lambda text: "",
        lambda text: "+".join(text.split("+")[:2]),
        lambda text: "\x00" + text,
    ],
)
def test_a_changed_verifier_key_is_refused(change):
    """Its hash covers the name and the bytes."""
    with pytest.raises(NoteInvalid):
        VerifierKey.parse(change(str(_signer().public)))


def test_every_changed_byte_of_a_text_is_found():
    """A signature is of exactly these bytes."""
    signer = _signer()
    note = bytearray(sign_note("mas/x/audit/0\n5\nAAAA\n", [signer]))
    end = note.index(b"\n\n")

    for place in range(end):
        changed = bytes(note[:place] + bytes([note[place] ^ 1]) + note[place + 1 :])
        with pytest.raises(NoteInvalid):
            assert not Note.parse(changed).signed_by([signer.public]), place


def test_a_signature_by_somebody_else_counts_nothing():
    """Another name, or another key of the same name."""
    signer = _signer()
    note = Note.parse(sign_note("a\n", [signer]))

    assert note.signed_by([signer.public]) == [signer.public]
    assert note.signed_by([_signer().public, _signer("other").public]) == []


def test_a_wrong_signature_in_the_name_of_a_key_is_an_error():
    """Whoever claims to be the key and is not is named."""
    signer, other = _signer(), _signer()
    text, _, lines = sign_note("a\n", [signer]).partition(b"\n\n")
    data = base64.b64decode(lines.split(b" ")[2])
    wrong = base64.b64encode(data[:4] + other.private_key.sign(text + b"\n"))

    note = Note.parse(text + b"\n\n" + "\u2014 ".encode() + signer.name.encode() + b" " + wrong + b"\n")

    with pytest.raises(NoteInvalid, match="not of this note"):
        note.signed_by([signer.public])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"a\n",
        b"a\n\nb\n",
        b"\xff\n\n\xe2\x80\x94 a AAAAAAAA\n",
        b"a\x00\n\n\xe2\x80\x94 a AAAAAAAA\n",
    ],
)
def test_what_is_no_note_is_refused(data):
    """No signature, no text, or bytes that are no text."""
    with pytest.raises(NoteInvalid):
        Note.parse(data)


@pytest.mark.parametrize("text", ["a", "a\n\nb\n", "\na\n"])
def test_a_text_of_a_note_is_made_of_lines(text):
    """An empty line would end it."""
    with pytest.raises(NoteInvalid):
        sign_note(text, [_signer()])


def test_notes_of_a_file_are_told_apart():
    """Each ends with an empty line; a torn one at the end is left out, wherever it is torn."""
    signers = [_signer(), _signer("other")]
    notes = [sign_note(f"origin\n{number}\n", signers[: 1 + number % 2]) for number in range(5)]
    whole = b"".join(note + b"\n" for note in notes)

    assert list(notes_in(whole)) == notes
    torn = whole[: -len(notes[-1]) - 1]
    for length in range(len(notes[-1]) + 1):
        data = torn + notes[-1][:length]
        assert list(notes_in(data)) == notes[:-1], length
        begin, end = last_note(data) or (0, 0)
        assert (data[begin : end - 1], end) == (notes[-2], len(torn)), length


def test_the_last_note_is_found_from_anywhere():
    """In the end of a file that begins in the middle of a note."""
    notes = [sign_note(f"origin\n{number}\n", [_signer()]) for number in range(3)]
    whole = b"".join(note + b"\n" for note in notes)

    for start in range(len(whole)):
        data = whole[start:]
        found = last_note(data)
        if found is not None and found[0] > 0:
            assert data[found[0] : found[1] - 1] == notes[2]
    assert last_note(b"") is None
