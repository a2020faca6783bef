"""The keys of a system's gateways, in files and in use."""

from __future__ import annotations

import multiprocessing
import os
import stat

import pytest

from mas_core.errors import ConfigurationError, SecretUnavailable
from mas_core.security.gateway_keys import FILE_NAME, GatewayKeys
from mas_core.security.tokens import key_id_of

KEYS = GatewayKeys.from_secret(b"s" * 32)


def secrets_of(keys):
    return [
        keys.seal_key.private_bytes_raw(),
        keys.audit_key.private_bytes_raw(),
        keys.at_rest_key,
        keys.mac_key,
        keys.fingerprint_key,
    ]


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_every_purpose_has_a_key_of_its_own():
    """One secret gives five different keys, always the same ones."""
    assert len(set(secrets_of(KEYS))) == 5
    assert secrets_of(KEYS) == secrets_of(GatewayKeys.from_secret(b"s" * 32))
    assert secrets_of(GatewayKeys.generate()) != secrets_of(GatewayKeys.generate())


def test_the_key_id_names_the_public_key():
    """Tokens and frames name the gateway by the hash of its public key."""
    assert KEYS.public_key == KEYS.seal_key.public_key().public_bytes_raw()
    assert KEYS.key_id == key_id_of(KEYS.public_key)


def test_printing_keys_shows_no_secret():
    """A gateway's keys can stand in an error or log line."""
    for secret in secrets_of(KEYS):
        assert repr(secret)[2:-1] not in repr(KEYS)
        assert secret.hex() not in repr(KEYS)
    assert "Private" not in repr(KEYS)


def test_keys_are_made_once_and_found_again(tmp_path):
    """The first call makes file and folder for the owner only; later ones read the same keys."""
    folder = tmp_path / ".mas" / "keys"

    made = GatewayKeys.load_or_create(folder)

    assert secrets_of(GatewayKeys.load(folder)) == secrets_of(made)
    assert secrets_of(GatewayKeys.load_or_create(folder)) == secrets_of(made)
    assert mode_of(folder) == 0o700
    assert mode_of(folder / FILE_NAME) == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]


def test_a_wide_umask_does_not_matter(tmp_path):
    """The modes are right whatever the process was started with."""
    before = os.umask(0)
    try:
        GatewayKeys.load_or_create(tmp_path / "keys")
    finally:
        os.umask(before)

    assert mode_of(tmp_path / "keys") == 0o700
    assert mode_of(tmp_path / "keys" / FILE_NAME) == 0o600


def _create(folder, ready, found):
    ready.wait()
    found.put(GatewayKeys.load_or_create(folder).key_id)


def test_processes_that_start_at_once_agree(tmp_path):
    """Of several that make keys at the same time, all end with the same ones, and no draft is left."""
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_create, args=(tmp_path / "keys", ready, found)) for _ in range(4)]
    for process in processes:
        process.start()

    ids = {found.get(timeout=60) for _ in processes}

    for process in processes:
        process.join()
    assert ids == {GatewayKeys.load(tmp_path / "keys").key_id}
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [FILE_NAME]


def test_the_later_of_two_takes_the_keys_of_the_first(tmp_path, monkeypatch):
    """When the file appears after it was looked for, it is read and not replaced."""
    first = GatewayKeys.load_or_create(tmp_path)
    look = os.path.lexists
    answers = iter([False])
    monkeypatch.setattr(os.path, "lexists", lambda path: next(answers, None) is None and look(path))

    assert secrets_of(GatewayKeys.load_or_create(tmp_path)) == secrets_of(first)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_missing_keys_are_not_made_by_reading(tmp_path):
    """Who only reads is told what makes them."""
    with pytest.raises(SecretUnavailable) as caught:
        GatewayKeys.load(tmp_path)

    assert caught.value.hint == ("mas up", "mas gateway run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o666])
def test_a_file_that_others_may_use_is_refused(tmp_path, mode):
    """A key that others could have read is no key; the hint closes the file."""
    GatewayKeys.load_or_create(tmp_path)
    path = tmp_path / FILE_NAME
    path.chmod(mode)

    for load in (GatewayKeys.load, GatewayKeys.load_or_create):
        with pytest.raises(ConfigurationError) as caught:
            load(tmp_path)
        assert caught.value.hint == (f"chmod 600 {path}",)


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 64, b"0" * 2_000_000])
def test_a_file_that_is_no_key_is_refused(tmp_path, content):
    """The error names the file and not what is in it."""
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match=FILE_NAME) as caught:
        GatewayKeys.load_or_create(tmp_path)

    assert len(caught.value.message) < len(str(path)) + 100
    assert path.read_bytes() == content


def test_links_are_not_followed(tmp_path):
    """A link in place of the file is refused, wherever it leads, and nothing is written through it."""
    other = tmp_path / "other"
    GatewayKeys.load_or_create(other)
    for name, target in (("link", other / FILE_NAME), ("dangling", tmp_path / "nothing")):
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        (folder / FILE_NAME).symlink_to(target)

        with pytest.raises(ConfigurationError):
            GatewayKeys.load_or_create(folder)
    assert not (tmp_path / "nothing").exists()


def test_what_is_no_plain_file_is_refused(tmp_path):
    """A pipe does not make the gateway wait for ever, a folder does not crash it."""
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    pipe.mkdir(mode=0o700)
    os.mkfifo(pipe / FILE_NAME, 0o600)
    (folder / FILE_NAME).mkdir(parents=True, mode=0o700)

    for place in (pipe, folder):
        with pytest.raises(ConfigurationError):
            GatewayKeys.load(place)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    """What cannot be a folder is an error of configuration."""
    (tmp_path / "keys").write_text("")

    with pytest.raises(ConfigurationError):
        GatewayKeys.load_or_create(tmp_path / "keys")


def test_macs_hold_for_one_purpose_and_text():
    """Another text, purpose, key or MAC does not pass, and parts cannot move between purpose and text."""
    mac = KEYS.mac("policy", b"text")

    assert len(mac) == 32
    assert KEYS.check_mac("policy", b"text", mac)
    assert not KEYS.check_mac("policy", b"text2", mac)
    assert not KEYS.check_mac("capsule", b"text", mac)
    assert not KEYS.check_mac("policyt", b"ext", mac)
    assert not GatewayKeys.generate().check_mac("policy", b"text", mac)
    for wrong in (b"", mac[:-1], mac + b"\x00", bytes(32), mac.hex().encode()):
        assert not KEYS.check_mac("policy", b"text", wrong)


def test_s32_payload_fingerprints_need_the_key():
    """The same payload has the same fingerprint in one system only."""
    fingerprint = KEYS.payload_hmac(b"{}")

    assert fingerprint == KEYS.payload_hmac(b"{}")
    assert len(bytes.fromhex(fingerprint)) == 32
    assert fingerprint != KEYS.payload_hmac(b"{} ")
    assert fingerprint != GatewayKeys.generate().payload_hmac(b"{}")
    assert fingerprint != KEYS.mac("", b"{}").hex()
