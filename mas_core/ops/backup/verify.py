"""Looks whether a backup can be restored, without a server: MAC, digests, lines, keys, the audit's position."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mas_core.errors import BackupInvalid, MasError, NotFound, SecretUnavailable
from mas_core.ops.archive import evidence_folder
from mas_core.ops.backup.backup_file import BackupReader
from mas_core.ops.backup.contents import PARTS, LaterLine, Manifest, Part
from mas_core.ops.backup.line_checks import LineCheck, checked_lines
from mas_core.ops.backup.positions import awaits_notary, position_problem
from mas_core.ops.backup.sealed_keys import gateway_keys_in, open_keys
from mas_core.security.gateway_keys import FILE_NAME, GatewayKeys
from mas_core.settings.project import Project

State = Literal["ok", "bad", "unchecked"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    check: str
    state: State
    detail: str = ""


def verify(
    reader: BackupReader,
    keys: GatewayKeys,
    *,
    evidence: Path | None = None,
    passphrase: str = "",
    on_progress: Callable[[int], object] = lambda _done: None,
) -> list[Check]:
    """Look at everything in a backup.

    Args:
        reader: The backup, open.
        keys: The gateway's keys of the system that it is of.
        evidence: The evidence folder of that system, where it is at hand.
        passphrase: Of the encrypted part; without one only its digest is looked at.
        on_progress: Told how many lines were looked at.
    """
    found: list[Check] = []
    try:
        manifest = reader.manifest(keys, keys.key_id)
    except BackupInvalid as error:
        return [Check("authenticity", "bad", error.message)]
    found.append(Check("authenticity", "ok", f"made by {manifest.by} with the gateway key {keys.key_id}"))
    check = LineCheck(keys, len(manifest.partitions))
    done = 0
    for part in PARTS:
        outcome, done = _part_check(reader, manifest, part, check, done, on_progress)
        found.append(outcome)
    found.append(_keys_check(reader, manifest, passphrase))
    for partition, facts in enumerate(manifest.partitions):
        name = f"audit position of partition {partition}"
        if evidence is not None and awaits_notary(facts, evidence, partition):
            detail = f"record {facts.seq}; the notary has not come so far yet: verify again in a moment"
            found.append(Check(name, "unchecked", detail))
        elif problem := position_problem(facts, evidence, partition):
            found.append(Check(name, "bad", problem))
        elif evidence is None:
            found.append(Check(name, "unchecked", f"record {facts.seq}; no evidence folder is at hand"))
        else:
            found.append(Check(name, "ok", f"record {facts.seq} is in the evidence"))
    return found


def verify_file(
    path: Path,
    *,
    project: Project | None = None,
    keys_dir: Path | None = None,
    passphrase: str = "",
    on_progress: Callable[[int], object] = lambda _done: None,
) -> list[Check]:
    """Look at everything in a backup, with the keys and the evidence that are at hand.

    Args:
        path: The file.
        project: The project of the system, where it is at hand.
        keys_dir: The folder of its keys, where one is known.
        passphrase: Of the encrypted part; without one only its digest is looked at.
        on_progress: Told how many lines were looked at.

    Raises:
        NotFound: There is no such file.
        BackupInvalid: It is no backup.
        SecretUnavailable: The gateway's key is neither here nor in the backup.
    """
    with BackupReader(path) as reader:
        sealed = reader.sealed_keys() if reader.has_keys and passphrase else b""
        keys = _keys_at_hand(keys_dir, sealed, passphrase)
        evidence = _evidence_of(project, keys_dir)
        return verify(reader, keys, evidence=evidence, passphrase=passphrase, on_progress=on_progress)


def _keys_at_hand(keys_dir: Path | None, sealed: bytes, passphrase: str) -> GatewayKeys:
    """The gateway's keys of this machine, or else those in the backup."""
    if keys_dir is not None and (keys_dir / FILE_NAME).exists():
        return GatewayKeys.load(keys_dir)
    if sealed:
        return gateway_keys_in(open_keys(sealed, passphrase))
    raise SecretUnavailable(
        "the gateway's key is not at hand, and without it nobody can tell whether a backup was changed",
        hint=("run it in the project folder", "--passphrase-file FILE, where the backup holds the keys"),
    )


def _evidence_of(project: Project | None, keys_dir: Path | None) -> Path | None:
    """The evidence folder of a system, where it is at hand."""
    try:
        return evidence_folder(project, keys_dir)
    except NotFound:
        return None


def _part_check(
    reader: BackupReader,
    manifest: Manifest,
    part: Part,
    check: LineCheck,
    done: int,
    on_progress: Callable[[int], object],
) -> tuple[Check, int]:
    """What there is to say of a part, and how many lines were looked at until now."""
    closed = 0
    try:
        for line in checked_lines(reader, manifest, part, check):
            closed += isinstance(line, LaterLine) and not check.opens(line)
            done += 1
            on_progress(done)
    except BackupInvalid as error:
        return Check(part, "bad", error.message), done
    lines = manifest.parts[part].lines
    detail = f"{lines:,} line{'s' * (lines != 1)}"
    if closed:
        return Check(part, "unchecked", f"{detail}; {closed:,} of them cannot be opened"), done
    return Check(part, "ok", detail), done


def _keys_check(reader: BackupReader, manifest: Manifest, passphrase: str) -> Check:
    try:
        reader.check_keys(manifest)
        if manifest.keys is None:
            return Check("keys", "ok", "it holds no private keys and no tokens")
        if not passphrase:
            return Check("keys", "unchecked", "they are as written; give the passphrase to open them")
        found = open_keys(reader.sealed_keys(), passphrase)
    except MasError as error:
        return Check("keys", "bad", error.message)
    return Check("keys", "ok", f"{len(found)} files open with the passphrase")
