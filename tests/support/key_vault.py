"""A double of Azure Key Vault's HTTP interface and of a managed identity, over TLS with a CA of its own.

As documented for `GET /secrets/NAME/VERSION?api-version=...`: without a bearer token it answers 401 and says in
`WWW-Authenticate` for which resource a token is wanted.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

IDENTITY_HEADER = "identity-header-canary"
ACCESS_TOKEN = "access-token-canary"


@dataclass
class KeyVault:
    """What runs, and what it was asked."""

    host: str
    identity_url: str
    ca_path: Path
    secrets: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """Name -> (version, value), the newest last."""
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers to who has a token."""
    resource: str = ""
    """For which a token is wanted."""
    requests: list[str] = field(default_factory=list)
    """Paths that were asked for, and with what."""

    def environ(self) -> dict[str, str]:
        """What leads the client here."""
        return {
            "IDENTITY_ENDPOINT": self.identity_url,
            "IDENTITY_HEADER": IDENTITY_HEADER,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
            "REQUESTS_CA_BUNDLE": str(self.ca_path),
            "NO_PROXY": "127.0.0.1",
        }


@contextmanager
def key_vault(folder: Path) -> Iterator[KeyVault]:
    """A vault on 127.0.0.1 until the block ends."""
    ca_path, chain_path = _certificates(folder)
    vault = KeyVault("", "", ca_path)
    secret_server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(vault, _answer_secret))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain_path)
    secret_server.socket = context.wrap_socket(secret_server.socket, server_side=True)
    identity_server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(vault, _answer_identity))
    port = secret_server.server_address[1]
    vault.host = f"127.0.0.1:{port}"
    # The client wants the vault to be below the resource that it gets a token for.
    vault.resource = f"https://0.0.1:{port}"
    vault.identity_url = f"http://127.0.0.1:{identity_server.server_address[1]}/token"
    servers = (secret_server, identity_server)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield vault
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


Answer = tuple[int, dict[str, str], object]


def _handler(vault: KeyVault, answer: object) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = answer(vault, self.path, self.headers)
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _answer_identity(vault: KeyVault, path: str, headers: object) -> Answer:
    asked = parse_qs(urlsplit(path).query)
    vault.requests.append(f"token for {asked.get('resource', [''])[0]}")
    if headers["X-IDENTITY-HEADER"] != IDENTITY_HEADER:
        return 403, {}, {"message": "no"}
    expires = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    return (
        200,
        {},
        {
            "access_token": ACCESS_TOKEN,
            "expires_on": str(int(expires.timestamp())),
            "resource": vault.resource,
            "token_type": "Bearer",
        },
    )


def _answer_secret(vault: KeyVault, path: str, headers: object) -> Answer:
    parts = urlsplit(path)
    _, kind, name, *version = parts.path.split("/")
    if "api-version" not in parse_qs(parts.query) or kind != "secrets":
        return 400, {}, _error("BadParameter")
    if headers["Authorization"] != f"Bearer {ACCESS_TOKEN}":
        vault.requests.append("challenge")
        tenant = "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47"
        challenge = f'Bearer authorization="{tenant}", resource="{vault.resource}"'
        return 401, {"WWW-Authenticate": challenge}, _error("Unauthorized")
    vault.requests.append(parts.path)
    if vault.refusals:
        status, more = vault.refusals.pop(0)
        return status, more, _error("Refused")
    wanted = version[0] if version and version[0] else ""
    found = [item for item in vault.secrets.get(name, []) if wanted in ("", item[0])]
    if not found:
        return 404, {}, _error("SecretNotFound")
    number, value = found[-1]
    place = f"https://{vault.host}/secrets/{name}/{number}"
    return 200, {}, {"value": value, "id": place, "attributes": {"enabled": True}}


def _error(code: str) -> dict[str, object]:
    return {"error": {"code": code, "message": "words of the vault"}}


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Files of a CA, and of a certificate for 127.0.0.1 with its key."""
    ca_key, key = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())
    ca = _certificate("test ca", ca_key, "test ca", ca_key, is_ca=True)
    own = _certificate("127.0.0.1", key, "test ca", ca_key, is_ca=False)
    ca_path, chain_path = folder / "ca.pem", folder / "vault.pem"
    ca_path.write_bytes(ca.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain_path.write_bytes(private + own.public_bytes(Encoding.PEM))
    return ca_path, chain_path


def _certificate(
    name: str, key: EllipticCurvePrivateKey, by: str, by_key: EllipticCurvePrivateKey, *, is_ca: bool
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key.public_key()), critical=False
        )
    )
    if is_ca:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = builder.add_extension(usage, critical=True)
    else:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(by_key, SHA256())
