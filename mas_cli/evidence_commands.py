"""The entries of the commands that prove and keep evidence: verification, proofs, retention, archive, erasure."""

from __future__ import annotations

from mas_cli.command_entry import Command

EVIDENCE_COMMANDS: tuple[Command, ...] = (
    Command(
        "audit verify",
        "Prove that no record was changed, removed or put in",
        "read",
        "audit_proof:verify",
        (
            "mas audit verify",
            "mas audit verify --folder evidence --key audit.pub",
            "mas audit verify audit.jsonl --key audit.pub --checkpoints witness",
        ),
        {1: "something is not what was written; it is named", 6: "there is nothing to verify"},
    ),
    Command(
        "audit prove",
        "Write a proof that one record is in the signed log",
        "read",
        "audit_proof:prove",
        (
            "mas audit prove 17 --out proof.json",
            "mas audit prove 01JH8Y4V7RZ0M3K9T5C2XWQ6BD --out proof.json",
        ),
        {
            1: "the evidence does not prove it",
            6: "there is no such record, or it is under no checkpoint yet",
            7: "the file of --out exists",
        },
    ),
    Command(
        "audit check-proof",
        "Check a proof or a signed export with a public key",
        "read",
        "audit_proof:check_proof",
        (
            "mas audit check-proof proof.json --key audit.pub",
            "mas audit check-proof audit.jsonl.manifest.note --key audit.pub",
        ),
        {1: "it proves nothing, or is not what was signed"},
        scope="local",
    ),
    Command(
        "trace",
        "Show what became of a message",
        "read",
        "trace:trace",
        (
            "mas trace 01M7ZN0T3ZJEVE9HDSJD9P5WYT",
            "mas trace 01M7ZN0T3ZJEVE9HDSJD9P5WYT --flat --payload short",
        ),
        {6: "the audit knows nothing of it"},
    ),
    Command(
        "audit archive",
        "Copy closed segments away, and trim the store",
        "write",
        "audit_archive:archive",
        ("mas audit archive --dry-run", "mas audit archive --to /mnt/cold", "mas audit archive --no-trim"),
        {
            1: "a segment, or the store, does not hold what was signed; nothing of it was touched",
            3: "the archive or the server cannot be reached",
            6: "there is no evidence yet",
            7: "another run is at work",
            8: "something is wrong with some partitions",
        },
    ),
    Command(
        "audit restore",
        "Bring archived segments back",
        "write",
        "audit_archive:restore",
        ("mas audit restore", "mas audit restore --from /mnt/cold --out again"),
        {
            1: "what the archive has is not what was signed",
            3: "the archive cannot be reached",
            6: "there is no archive, or no evidence folder",
            7: "something is in the way at --out",
        },
        scope="local",
    ),
    Command(
        "audit erase",
        "Make what is kept of a subject's payloads unreadable",
        "destroy",
        "audit_erase:erase",
        (
            "mas audit erase 'customer 7' --reason 'request of 2026-11-20' --dry-run",
            "mas audit erase --subject 'customer 7' --reason 'request of 2026-11-20' --yes",
        ),
        {6: "nothing is sealed for this subject"},
    ),
    Command(
        "audit count",
        "Count audit records, in all or by a field",
        "read",
        "audit:count",
        ("mas audit count --decision denied --since 24h", "mas audit count --by sender"),
    ),
    Command(
        "audit reindex",
        "Make the index of the evidence folder again",
        "write",
        "audit:reindex",
        ("mas audit reindex",),
        {7: "the notary is running"},
        scope="local",
    ),
    Command(
        "audit retention list",
        "List how long records are kept, and for which framework",
        "read",
        "audit_retention:list_retention",
        ("mas audit retention list",),
    ),
    Command(
        "audit retention set",
        "Say how long records are kept for a framework",
        "write",
        "audit_retention:set_retention",
        (
            "mas audit retention set hipaa",
            "mas audit retention set pci --hot-days 90 --archive-years 1 --delete --dry-run",
        ),
        {6: "it is to be taken back and is not in force"},
    ),
)
