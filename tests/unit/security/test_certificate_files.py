"""Certificates in files that others replace: never half of a pair, always the newest whole one."""

from __future__ import annotations

import asyncio
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from mas_core.errors import ConfigurationError, Conflict, SecretUnavailable
from mas_core.security.authority_files import CertificateFolder
from mas_core.security.certificate_files import CertificateFiles, read_pair, write_pair
from mas_core.security.certificates import Authority, Holder, key_pem, new_key, pem_of
from mas_core.security.spiffe import serial_of

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = Authority.create("mas", now=NOW)


def pair(name="alice", authority=AUTHORITY):
    """Chain and key."""
    key = new_key()
    return pem_of([authority.issue(Holder("agent", name), key.public_key(), now=NOW)]), key_pem(key)


def test_a_pair_lies_in_private_files_and_is_read_back(tmp_path):
    """In one file or in two, in folders that only their owner can enter."""
    chain, key = pair()
    one, certificate, key_path = (
        tmp_path / "a" / "one.pem",
        tmp_path / "b" / "c.pem",
        tmp_path / "k" / "k.pem",
    )
    write_pair(chain, key, one)
    write_pair(chain, key, certificate, key_path)

    for found in (read_pair(one), read_pair(certificate, key_path)):
        assert (found.chain, found.key) == (chain, key)
        assert key.decode() not in repr(found)
    for path in (one, certificate, key_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_of_others_stays_as_open_as_it_is(tmp_path):
    """Only folders that are made for the pair are closed; the key is private either way."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)

    write_pair(*pair(), shared / "c.pem", shared / "k.pem")

    assert stat.S_IMODE(shared.stat().st_mode) == 0o755
    assert stat.S_IMODE((shared / "k.pem").stat().st_mode) == 0o600


def test_what_is_no_pair_is_refused(tmp_path):
    """A key of another certificate, a key that others can read, no key, two keys, no certificate."""
    chain, key = pair()
    _, other = pair()
    path, key_path = tmp_path / "c.pem", tmp_path / "k.pem"

    def refused(kind, words):
        with pytest.raises(kind, match=words):
            read_pair(path, key_path)

    refused(SecretUnavailable, "cannot be read")
    write_pair(chain, other, path, key_path)
    refused(ConfigurationError, "is not that of the certificate")
    write_pair(chain, key + other, path, key_path)
    refused(ConfigurationError, "several private keys")
    write_pair(chain, chain, path, key_path)
    refused(ConfigurationError, "no private key")
    write_pair(b"nothing", key, path, key_path)
    refused(ConfigurationError, "no certificate")
    write_pair(chain, key, path, key_path)
    key_path.chmod(0o644)
    refused(SecretUnavailable, "other users")


def test_changes_are_seen_and_nothing_else_is_read(tmp_path):
    """A new pair, a new bundle; the same again is no change."""
    path, bundle = tmp_path / "a.pem", tmp_path / "authorities.pem"
    write_pair(*pair(), path)
    bundle.write_bytes(pem_of([AUTHORITY.certificate]))
    files = CertificateFiles(path, authorities=bundle)
    first = files.current()

    assert files.current() is first
    path.write_bytes(path.read_bytes())
    assert files.current() is first
    chain, key = pair()
    write_pair(chain, key, path)
    second = files.current()
    assert (second.chain, second.key) == (chain, key)
    assert files.current() is second
    other = Authority.create("mas", now=NOW)
    bundle.write_bytes(pem_of([other.certificate, AUTHORITY.certificate]))
    assert len(x509.load_pem_x509_certificates(files.current().authorities)) == 2


def test_a_pair_that_is_half_replaced_does_not_count_yet(tmp_path):
    """The former goes on while the files do not match, are broken or gone; the reason is told."""
    path, key_path = tmp_path / "c.pem", tmp_path / "k.pem"
    write_pair(*pair(), path, key_path)
    files = CertificateFiles(path, key_path)
    first = files.current()
    chain, key = pair()

    key_path.write_bytes(key)
    assert files.current() is first
    assert "is not that of the certificate" in files.problem
    path.write_bytes(b"")
    assert files.current() is first
    path.unlink()
    assert files.current() is first
    path.write_bytes(chain)
    assert files.current().chain == chain
    assert files.problem == ""


def test_the_first_reading_waits_for_a_pair_that_is_being_replaced(tmp_path):
    """A moment; where nothing comes it says what is wrong."""
    path, key_path = tmp_path / "c.pem", tmp_path / "k.pem"
    chain, key = pair()
    write_pair(*pair(), path, key_path)
    key_path.write_bytes(key)
    later = threading.Timer(0.1, path.write_bytes, [chain])
    later.start()

    assert CertificateFiles(path, key_path).current().chain == chain
    later.join()
    with pytest.raises(SecretUnavailable):
        CertificateFiles(tmp_path / "none.pem").current()


def test_s37_many_replacements_never_give_half_a_pair(tmp_path):
    """While another thread replaces both files again and again, every pair that is read belongs together."""
    path, key_path = tmp_path / "c.pem", tmp_path / "k.pem"
    pairs = [pair() for _ in range(8)]
    keys = dict(pairs)
    write_pair(*pairs[0], path, key_path)
    files = CertificateFiles(path, key_path)
    done = threading.Event()

    def replace():
        for number in range(30):
            write_pair(*pairs[number % 8], path, key_path)
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    seen = set()
    while not done.is_set():
        found = files.current()
        assert keys[found.chain] == found.key
        seen.add(found.chain)
    writer.join()

    assert len(seen) > 1
    assert files.current().chain == pairs[29 % 8][0]


async def test_changes_come_one_after_the_other(tmp_path):
    """As a stream, for whoever reloads."""
    path = tmp_path / "a.pem"
    write_pair(*pair(), path)
    files = CertificateFiles(path)
    first = files.current()
    chain, key = pair()
    write_pair(chain, key, path)

    async with asyncio.timeout(5):
        async for changed in files.changes(first, every=0.001):
            assert changed.chain == chain
            break


def test_links_to_pairs_are_followed(tmp_path):
    """As those who swap a whole folder at once make them; a swap is a change."""
    for name in ("one", "two"):
        write_pair(*pair(), tmp_path / name / "a.pem")
    link = tmp_path / "now"
    link.symlink_to("one")
    files = CertificateFiles(link / "a.pem")
    first = files.current()
    other = tmp_path / "next"
    other.symlink_to("two")
    other.replace(link)

    assert files.current().certificate != first.certificate


def test_an_authority_is_kept_in_private_and_replaced_without_a_gap(tmp_path):
    """What the older has issued stays trusted until that is dropped; its key is gone."""
    folder = CertificateFolder(tmp_path / "certs")
    with pytest.raises(SecretUnavailable, match="no certificate authority"):
        folder.required_authority()
    assert folder.trusted() == []
    first = folder.create_authority("mas", now=NOW)
    with pytest.raises(Conflict):
        folder.create_authority("mas", now=NOW)
    old = first.issue(Holder("agent", "alice"), new_key().public_key(), now=NOW)
    second = folder.create_authority("mas", now=NOW, replace=True)

    assert folder.required_authority().certificate == second.certificate
    assert folder.trusted() == [second.certificate, first.certificate]
    assert folder.knows(old)
    assert stat.S_IMODE(folder.authority_path.stat().st_mode) == 0o600
    assert b"PRIVATE" not in folder.authorities_path.read_bytes()
    assert key_pem(first.key) not in b"".join(
        path.read_bytes() for path in (tmp_path / "certs").rglob("*") if path.is_file()
    )
    assert folder.drop_older_authorities() == [first.certificate]
    assert not folder.knows(old)


def test_what_was_issued_is_remembered_until_it_ends(tmp_path):
    """Newest first."""
    folder = CertificateFolder(tmp_path / "certs")
    authority = folder.create_authority("mas", now=NOW - timedelta(days=2))
    holder, key = Holder("agent", "alice"), new_key().public_key()
    ended = authority.issue(holder, key, now=NOW - timedelta(days=2))
    folder.keep(ended, now=NOW - timedelta(days=2))
    newer = [authority.issue(holder, key, now=NOW - timedelta(hours=hours)) for hours in (2, 1)]
    for each in newer:
        folder.keep(each, now=NOW)

    assert [serial_of(each) for each in folder.issued()] == [serial_of(each) for each in reversed(newer)]
