"""Certificates as rows: what lists and single ones show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mas_cli.output.colours import Style
from mas_cli.output.columns import Column, Record, with_rest
from mas_cli.output.moments import moment

if TYPE_CHECKING:
    from mas_core.ops.certificate_facts import CertificateInfo


_STYLES: Mapping[object, Style] = {
    "valid": "good",
    "due": "warn",
    "untrusted": "bad",
    "early": "warn",
    "expired": "bad",
    "revoked": "bad",
}


CERTIFICATE_COLUMNS = (
    Column("name", whole=True, style=lambda _: "name"),
    Column("kind", whole=True),
    Column("status", whole=True, style=_STYLES.get),
    Column("serial"),
    Column("expires", kind="time"),
    Column("path", flexible=True, usual=None),
)
ISSUED_COLUMNS = (
    *CERTIFICATE_COLUMNS[:4],
    Column("names"),
    Column("starts", kind="time"),
    Column("renews", kind="time"),
    Column("expires", kind="time"),
    Column("fingerprint"),
    Column("path"),
    Column("key_path"),
    Column("revoked"),
)


def certificate_row(item: CertificateInfo) -> dict[str, object]:
    """One certificate."""
    revocation = item.revocation
    return {
        "name": item.name,
        "kind": item.kind,
        "status": item.status,
        "serial": item.serial,
        "starts": moment(item.starts),
        "renews": moment(item.renews),
        "expires": moment(item.expires),
        "names": list(item.names),
        "subject": item.subject,
        "issuer": item.issuer,
        "key": item.key,
        "uses": list(item.uses),
        "fingerprint": item.fingerprint,
        "trusted": item.trusted,
        "problem": item.problem or None,
        "explanation": item.explanation,
        "path": None if item.path is None else str(item.path),
        "revocation": None
        if revocation is None
        else {
            "reason": revocation.reason,
            "by": revocation.by,
            "revoked": moment(revocation.created),
        },
    }


def inspected_columns(row: Record) -> tuple[Column, ...]:
    """Everything about one certificate."""
    return with_rest(CERTIFICATE_COLUMNS, row, {"starts": "time", "renews": "time"}, without={"explanation"})
