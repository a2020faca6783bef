"""What becomes of TLS handshakes that fail: gRPC tells nobody but its log, so its log is read.

gRPC's core writes to file descriptor 2 and nowhere else. In a process that serves and does nothing else, that
descriptor is turned into a pipe; our own logs keep the real standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from mas_core.base.logs import get_logger

log = get_logger(__name__)

MAX_LINE: Final = 4096
CLOSING_S: Final = 1.0
_OF_GRPC: Final = re.compile(r"[IWEF]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::")
# Only what gRPC itself has put at the beginning of a line counts, not words that a peer may have had repeated.
_FAILED: Final = re.compile(
    r"[A-Z]\d{4,8} [\d:.]+ +\d+ ssl_transport_security\w*\.cc:\d+\] "
    r"Handshake failed with error \w+: (?:error:[0-9a-f]+:[\w ]+:\w*:)?(?P<error>\w+)(?:: (?P<text>.*))?"
)
_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("no_certificate", "it showed no certificate"),
    "UNSUPPORTED_PROTOCOL": ("old_protocol", "its TLS is older than 1.2"),
    "WRONG_VERSION_NUMBER": ("no_tls", "it does not speak TLS"),
    "NO_SHARED_CIPHER": ("no_shared_cipher", "it knows no cipher that is taken here"),
    "HTTP_REQUEST": ("no_tls", "it spoke HTTP without TLS"),
    "HTTPS_PROXY_REQUEST": ("no_tls", "it took the server for a proxy"),
    "BAD_SIGNATURE": ("bad_signature", "a signature is not right"),
}
_VERIFICATION: Final = {
    "certificate has expired": "expired",
    "certificate is not yet valid": "not_yet_valid",
    "unable to get local issuer certificate": "unknown_authority",
    "self signed certificate": "unknown_authority",
    "self-signed certificate": "unknown_authority",
    "unable to get issuer certificate": "unknown_authority",
    "unable to verify the first certificate": "unknown_authority",
    "self signed certificate in certificate chain": "unknown_authority",
    "invalid CA certificate": "unknown_authority",
    "certificate signature failure": "bad_signature",
    "unsupported certificate purpose": "wrong_use",
}


class FailedHandshake(NamedTuple):
    """Why somebody was not let in before anything was known of them."""

    reason: str
    """Such as expired, unknown_authority, no_certificate, old_protocol; other for everything else."""
    text: str
    """In words; what the TLS library said where that has none of ours."""


def failed_handshake(line: str) -> FailedHandshake | None:
    """What a line of gRPC's log says of a handshake that failed; None for any other line."""
    found = _FAILED.match(line)
    if found is None:
        return None
    error, text = found["error"], (found["text"] or "").strip()
    if error == "CERTIFICATE_VERIFY_FAILED":
        return FailedHandshake(_VERIFICATION.get(text, "other"), text or error)
    return FailedHandshake(*_REASONS.get(error, ("other", error)))


class GrpcLog:
    """What gRPC's core says, from now on until it is closed; made before gRPC is loaded.

    What others write to descriptor 2 goes on to the real standard error.
    """

    def __init__(self) -> None:
        # What gRPC's core says of handshakes is recorded, so it has to say it.
        os.environ["GRPC_VERBOSITY"] = "INFO"
        sys.stderr.flush()
        self._ours, self._before = os.dup(2), sys.stderr
        reader, writer = os.pipe()
        sys.stderr = os.fdopen(
            os.dup(self._ours), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
        )
        os.dup2(writer, 2)
        os.close(writer)
        self._tell: Callable[[FailedHandshake], object] = lambda _failed: None
        self._thread = threading.Thread(target=self._read, args=(reader,), name="grpc-log", daemon=True)
        self._thread.start()

    def follow(self, tell: Callable[[FailedHandshake], None]) -> None:
        """From now on, call `tell` in the running loop for each handshake that fails."""
        loop = asyncio.get_running_loop()
        self._tell = lambda failed: loop.call_soon_threadsafe(tell, failed)

    def close(self) -> None:
        """Give standard error back, once all that was said has been read."""
        sys.stderr.flush()
        self._before.flush()
        sys.stderr = self._before
        os.dup2(self._ours, 2)
        self._thread.join(CLOSING_S)
        os.close(self._ours)

    def _read(self, reader: int) -> None:
        with os.fdopen(reader, "rb") as lines:
            while line := lines.readline(MAX_LINE):
                text = line.decode(errors="replace").rstrip()
                failed = failed_handshake(text)
                if failed is not None:
                    # The loop ends before the process does.
                    with contextlib.suppress(RuntimeError):
                        self._tell(failed)
                elif not _OF_GRPC.match(text):
                    os.write(self._ours, line)
                elif text[0] in {"E", "F"}:
                    log.warning("grpc.said", text=text[:500])
