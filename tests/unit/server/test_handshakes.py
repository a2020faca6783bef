"""What gRPC's log says of handshakes that failed."""

import pytest

from mas_core.server.handshakes import FailedHandshake, failed_handshake

PREFIX = "I1122 00:27:03.744006   21731 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: "
VERIFY = "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: "


@pytest.mark.parametrize(
    ("said", "reason", "text"),
    [
        (
            "error:100000c0:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE: Invalid certificate",
            "no_certificate",
            "it showed no certificate",
        ),
        (VERIFY + "certificate has expired", "expired", "certificate has expired"),
        (VERIFY + "certificate is not yet valid", "not_yet_valid", "certificate is not yet valid"),
        (
            VERIFY + "unable to get local issuer certificate",
            "unknown_authority",
            "unable to get local issuer certificate",
        ),
        (VERIFY + "path length constraint exceeded", "other", "path length constraint exceeded"),
        (
            "error:100000f0:SSL routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL: Invalid certificate",
            "old_protocol",
            "its TLS is older than 1.2",
        ),
        ("error:1:SSL routines:OPENSSL_internal:HTTP_REQUEST", "no_tls", "it spoke HTTP without TLS"),
        ("error:1:SSL routines:OPENSSL_internal:SOMETHING_NEW", "other", "SOMETHING_NEW"),
    ],
)
def test_a_failed_handshake_has_a_reason(said, reason, text):
    """Each cause that matters to an operator has a name."""
    assert failed_handshake(PREFIX + said) == FailedHandshake(reason, text)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "I1122 something else",
        "E1122 Handshake of another kind failed",
        "I1122 00:27:03.744006   21731 call.cc:63] he said " + PREFIX + VERIFY + "certificate has expired",
        " " + PREFIX + VERIFY + "certificate has expired",
    ],
)
def test_other_lines_are_no_handshakes(line):
    """They are not counted as attacks."""
    assert failed_handshake(line) is None
