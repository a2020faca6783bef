"""The entries of the commands about keys and signatures."""

from __future__ import annotations

from mas_cli.command_entry import Command

_NO_AGENT = {6: "there is no such agent"}

KEY_COMMANDS: tuple[Command, ...] = (
    Command(
        "audit check-signature",
        "Prove who signed a message, by its record and a public key",
        "read",
        "audit_signatures:check_signature",
        (
            "mas audit check-signature 01JH8Y4V7RZ0M3K9T5C2XWQ6BD",
            "mas audit check-signature 01JH8Y4V7RZ0M3K9T5C2XWQ6BD --file audit.jsonl --public-key 6d1f...",
        ),
        {1: "a signature is wrong, or of another payload", 6: "no record of it carries a signature"},
    ),
    Command(
        "audit fingerprint",
        "Tell which recorded messages held a value",
        "read",
        "audit_fingerprints:fingerprint",
        (
            """mas audit fingerprint --path /customer/id --value '"c-17"'""",
            """mas audit fingerprint 01JH8Y4V7RZ0M3K9T5C2XWQ6BD --value '{"amount":17}'""",
        ),
        {1: "none did", 6: "there is no record of the message"},
    ),
    Command(
        "audit payload",
        "Show a payload of which a sealed copy was kept",
        "read",
        "audit_payloads:payload",
        ("mas audit payload 01JH8Y4V7RZ0M3K9T5C2XWQ6BD --subject c-17", "mas audit payload 17"),
        {1: "the copy was changed", 6: "no copy was kept, or the key of the subject was destroyed"},
    ),
    Command(
        "key generate",
        "Make one with which an agent decrypts",
        "write",
        "keys:generate",
        ("mas key generate vault", "mas key generate vault --type rsa --out vault.pem --expires 365d"),
        {**_NO_AGENT, 7: "the file of --out exists"},
    ),
    Command(
        "key list",
        "List public keys with fingerprint, age and use",
        "read",
        "keys:list_keys",
        ("mas key list", "mas key list vault --output json"),
        _NO_AGENT,
    ),
    Command(
        "key import",
        "Take one that exists for messages to an agent",
        "write",
        "keys:import_key",
        ("mas key import vault vault-public.pem",),
        {**_NO_AGENT, 7: "the agent has this key already, or the file of --out exists"},
    ),
    Command(
        "key rotate",
        "Make a new one; the older ones count a little longer",
        "write",
        "keys:rotate",
        ("mas key rotate vault", "mas key rotate vault --type rsa --grace 1d"),
        {**_NO_AGENT, 7: "the file of --out exists"},
    ),
    Command(
        "key revoke",
        "End keys of an agent at once, and its tokens",
        "destroy",
        "keys:revoke",
        ("mas key revoke vault --key 4f1c2a9be0d37758", "mas key revoke vault --yes"),
        {6: "there is no such agent, or no such key of it"},
    ),
)
