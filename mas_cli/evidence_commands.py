"""The entries of the commands that keep evidence: retention, archive, erasure."""

from __future__ import annotations

from mas_cli.command_entry import Command

EVIDENCE_COMMANDS: tuple[Command, ...] = (
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
