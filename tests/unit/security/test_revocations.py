"""Revocations in the policy: kept as long as they matter, and taken back by nobody by accident."""

import msgspec
import pytest

from mas_core.errors import UsageError
from mas_core.model.policy import PolicyDocument, RevokedCertificate
from mas_core.ops.backup.restore import policy_of
from mas_core.security.policy_versions import rolled_back
from mas_core.security.revocations import REMEMBERED_MS, serial_number, with_revoked

NOW = 1_800_000_000_000
STOLEN = RevokedCertificate("agent alice", NOW + 1000, "stolen", "jane@host", NOW)
REVOKED = with_revoked(PolicyDocument(), {"abc": STOLEN}, NOW)


def test_a_revocation_is_kept_with_its_facts_and_survives_the_store():
    """What is revoked already stays as it was, and changes nothing."""
    assert REVOKED.revoked_certificates == {"abc": STOLEN}
    assert REVOKED.change == "revoke the certificate abc (agent alice)"
    assert with_revoked(REVOKED, {"abc": RevokedCertificate(reason="again")}, NOW) is REVOKED
    text = msgspec.json.encode(REVOKED)
    assert msgspec.json.decode(text, type=PolicyDocument) == REVOKED
    assert msgspec.json.decode(b"{}", type=PolicyDocument).revoked_certificates == {}


def test_a_revocation_is_forgotten_a_day_after_its_certificate_has_ended():
    """With the next one, not before; one whose end is not known is kept."""
    forever = with_revoked(REVOKED, {"def": RevokedCertificate(created=NOW)}, NOW)
    end = STOLEN.expires + REMEMBERED_MS

    soon = with_revoked(forever, {"1": STOLEN}, end)
    later = with_revoked(forever, {"1": STOLEN}, end + 1)

    assert set(soon.revoked_certificates) == {"abc", "def", "1"}
    assert set(later.revoked_certificates) == {"def", "1"}


def test_s37_neither_a_rollback_nor_a_backup_lets_a_stolen_certificate_in_again():
    """Both leave revocations as they are."""
    assert rolled_back(REVOKED, PolicyDocument(revision=1)).revoked_certificates == {"abc": STOLEN}
    other = PolicyDocument(revoked_certificates={"def": STOLEN})
    assert set(policy_of(REVOKED, other, "b.zip").revoked_certificates) == {"abc", "def"}


@pytest.mark.parametrize("text", ["abc", "ABC", "0abc", "0A:BC", "0x0abc", " abc\n"])
def test_a_serial_number_is_the_same_in_every_spelling(text):
    """As openssl, browsers and we print it."""
    assert serial_number(text) == "abc"


@pytest.mark.parametrize("text", ["", "0", "xyz", "a b", "-1", "f" * 41, "٣"])
def test_what_is_no_serial_number_is_refused(text):
    """Instead of being kept and never matching."""
    with pytest.raises(UsageError, match="no serial number"):
        serial_number(text)
