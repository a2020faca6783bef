"""The entries of the commands about certificates."""

from __future__ import annotations

from mas_cli.command_entry import Command

_NO_AUTHORITY = {2: "there is no authority here", 6: "there is no such agent"}

CERTIFICATE_COMMANDS: tuple[Command, ...] = (
    Command(
        "cert ca",
        "Make the certificate authority of the project",
        "write",
        "cert:authority",
        ("mas cert ca", "mas cert ca --rotate --expires 90d", "mas cert ca --drop-older"),
        {7: "there is one already, or one to be dropped is still needed"},
    ),
    Command(
        "cert issue",
        "Issue one to an agent, an operator or a server",
        "write",
        "cert:issue",
        (
            "mas cert issue writer",
            "mas cert issue writer --csr writer.csr --out writer.pem",
            "mas cert issue localhost --for server --also 127.0.0.1",
        ),
        {**_NO_AUTHORITY, 7: "it has one that counts, or a file is there already"},
    ),
    Command(
        "cert list",
        "List what was issued and revoked, and who is trusted",
        "read",
        "cert:list_certificates",
        ("mas cert list", "mas cert list writer --output json"),
    ),
    Command(
        "cert revoke",
        "Refuse certificates at once, wherever they come from",
        "destroy",
        "cert:revoke",
        (
            "mas cert revoke writer --reason stolen",
            "mas cert revoke --serial 5f3a9c0d17b2 --yes",
            "mas cert revoke --file writer.pem --yes",
        ),
        {6: "no certificate is left that could be revoked"},
    ),
    Command(
        "cert rotate",
        "Put a new one with a new key in place of the old one",
        "write",
        "cert:rotate",
        ("mas cert rotate writer", "mas cert rotate localhost --for server --revoke-old"),
        {2: "there is no authority here", 6: "there is no such agent, or it has none", 7: "it is not ours"},
    ),
    Command(
        "cert inspect",
        "Show what the certificates in a file say",
        "read",
        "cert:inspect",
        ("mas cert inspect writer.pem", "mas cert inspect /run/spire/svid.pem --output json"),
        {1: "a server would refuse it", 5: "the file holds no certificate"},
        scope="local",
    ),
    Command(
        "cert follow",
        "Keep the files of a SPIFFE Workload API up to date",
        "write",
        "cert_follow:follow",
        (
            "mas cert follow --workload-api unix:///run/spire/agent.sock --out certs",
            "mas cert follow --workload-api unix:///run/spire/agent.sock --out certs --once",
        ),
        {3: "the Workload API does not answer"},
        scope="local",
    ),
)
