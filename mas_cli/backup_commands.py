"""The entries of the commands about backups."""

from __future__ import annotations

from mas_cli.command_entry import Command

BACKUP_COMMANDS: tuple[Command, ...] = (
    Command(
        "backup create",
        "Write registry, policy, states and what waits to a file",
        "write",
        "backup:create",
        (
            "mas backup create",
            "mas backup create --out /mnt/cold/mas.zip",
            "mas backup create --keys --passphrase-file ~/.backup-passphrase",
        ),
        {7: "the file is there"},
    ),
    Command(
        "backup verify",
        "Look whether one can be restored, without a server",
        "read",
        "backup:verify",
        ("mas backup verify mas.zip", "mas backup verify mas.zip --passphrase-file ~/.backup-passphrase"),
        {1: "it is not what was written, or does not fit the evidence", 6: "there is no such file"},
        scope="local",
    ),
    Command(
        "backup restore",
        "Put one back",
        "write",
        "backup:restore",
        (
            "mas backup restore mas.zip --dry-run",
            "mas backup restore mas.zip",
            "mas backup restore mas.zip --force --without later",
            "mas backup restore mas.zip --keys --passphrase-file ~/.backup-passphrase",
        ),
        {
            1: "it is not what was written, or another system's; nothing was changed",
            6: "there is no such file",
            7: "the system is not empty, or another restore was interrupted",
            9: "the question was answered with no",
        },
        asks=True,
    ),
    Command(
        "backup list",
        "List those of the project, the newest first",
        "read",
        "backup:list_backups",
        ("mas backup list", "mas backup list --folder /mnt/cold"),
        scope="local",
    ),
)
