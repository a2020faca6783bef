"""The entries of the commands about the report for auditors and the files beside the audit."""

from __future__ import annotations

from mas_cli.command_entry import Command

REPORT_COMMANDS: tuple[Command, ...] = (
    Command(
        "audit report",
        "Show what the records say about the controls of a standard",
        "read",
        "audit_report:report",
        (
            "mas audit report --standard soc2 --period 30d",
            "mas audit report --standard hipaa,gdpr --period 2026-Q3 --out report.html",
            "mas audit report --standard pci --period 2026-10-01..2026-10-31 --format json --strict",
        ),
        {1: "there are gaps, and --strict was given", 7: "the file exists"},
    ),
    Command(
        "audit sinks list",
        "Show the files that get a copy of each record",
        "read",
        "audit_sinks:list_sinks",
        ("mas audit sinks list",),
        {1: "a file cannot be read"},
        scope="local",
    ),
    Command(
        "audit sinks stats",
        "Count the entries of the daily files",
        "read",
        "audit_sinks:stats",
        ("mas audit sinks stats", "mas audit sinks stats --by-kind"),
        scope="local",
    ),
    Command(
        "audit sinks clean",
        "Remove daily files that are too old",
        "destroy",
        "audit_sinks:clean",
        ("mas audit sinks clean --keep-days 30 --dry-run", "mas audit sinks clean --keep-days 30 --yes"),
        scope="local",
    ),
)
