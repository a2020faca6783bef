"""Exports to files: whole or not at all, with a manifest beside them, and gone on with after an interruption.

What is written lies in a hidden file beside the one that is wanted, which stays as it is until the export is
complete. Now and then it is flushed to the disk together with how far it came; from there `resume` goes on.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from mas_core.audit.checkpoint_keys import CheckpointKeys
from mas_core.audit.evidence_reader import CHECKPOINTS_NAME, open_plain
from mas_core.audit.record_files import Warn
from mas_core.base.clock import rfc3339
from mas_core.errors import ConfigurationError, LockHeld
from mas_core.ops.audit_exports import Export, ExportRequest, ExportResult, PartitionExport, Progress
from mas_core.ops.audit_sources import evidence_folder, log_warning
from mas_core.ops.export_signatures import signature, signature_path
from mas_core.ops.system import System
from mas_core.settings.private_files import write_private

_NOTES_TAIL: Final = 1 << 16
_CHUNK: Final = 1 << 20


class _Mark(msgspec.Struct):
    """What stands beside an export that is not complete."""

    request: dict[str, Any]
    log: str
    progress: Progress


_read_mark = msgspec.json.Decoder(_Mark).decode


class FileExport(NamedTuple):
    """An export that is complete."""

    result: ExportResult
    path: Path
    manifest: Path
    signature: Path | None = None
    """None where it was not to be signed."""


def manifest_path(path: Path) -> Path:
    """Where the manifest of an export is."""
    return path.with_name(f"{path.name}.manifest.json")


def interrupted(path: Path) -> bool:
    """Whether an export to this file was interrupted and can be gone on with."""
    return _mark_path(path).exists()


async def export_to_file(
    system: System,
    request: ExportRequest,
    path: Path,
    *,
    resume: bool = False,
    warn: Warn = log_warning,
    told: Callable[[int], None] = lambda _: None,
    keys: CheckpointKeys | None = None,
) -> FileExport:
    """Export to a file, mode 0600, with a manifest beside it.

    Args:
        system: The system.
        request: What is exported.
        path: The file; one that is there is replaced when the export is complete.
        resume: Go on with an export to this file that was interrupted.
        warn: Told in words what is damaged or missing.
        told: Told now and then how many records are written.
        keys: Sign the export and its manifest with these; see `export_signatures.signing_keys`.

    Raises:
        ConfigurationError: The folder does not take it, as on a full disk; the file is as it was.
        LockHeld: Another export to this file is going on.
        UnknownFormat: The format is none of `FORMATS`.
    """
    about = request.described()
    log = f"{system.store.namespace}/{system.store.partitions}"
    with _draft(path) as file:
        mark = _mark_of(path, file, about, log) if resume else None
        if resume and mark is None:
            warn(f"no export to {path} that was interrupted fits, so it begins anew")
        export = Export(system, request, progress=mark.progress if mark else None, warn=warn, told=told)
        digest = _kept(file, export.progress.size)
        _mark_path(path).unlink(missing_ok=True) if mark is None else None

        def keep(progress: Progress) -> None:
            if export.is_resumable:
                file.flush()
                os.fsync(file.fileno())
                write_private(_mark_path(path), msgspec.json.encode(_Mark(about, log, progress)))

        result = await export.run(file.write, keep, digest)
        file.flush()
        os.fsync(file.fileno())
        manifest = await _manifest(system, request, result, path)
        signed = signature(keys, result.sha256, manifest) if keys is not None else None
        signature_path(path).unlink(missing_ok=True)
        _draft_path(path).replace(path)
        write_private(manifest_path(path), manifest)
        if signed is not None:
            write_private(signature_path(path), signed)
        _mark_path(path).unlink(missing_ok=True)
        _sync(path.parent)
    return FileExport(result, path, manifest_path(path), signature_path(path) if signed else None)


def newest_note(folder: Path | None, partition: int) -> str:
    """The newest signed checkpoint of a partition; empty when there is none."""
    if folder is None:
        return ""
    try:
        with open_plain(folder / f"p{partition}" / CHECKPOINTS_NAME) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _NOTES_TAIL))
            pieces = file.read().decode(errors="replace").split("\n\n")
    except OSError:
        return ""
    for text, signatures in zip(pieces[-3::-1], pieces[-2::-1], strict=False):
        if signatures.startswith("\u2014 "):
            return f"{text}\n\n{signatures}\n"
    return ""


def note_size(note: str) -> int:
    """How many records a checkpoint says there are; 0 when it does not."""
    lines = note.split("\n", 2)
    return int(lines[1]) if len(lines) > 1 and lines[1].isdecimal() else 0


async def _manifest(system: System, request: ExportRequest, result: ExportResult, path: Path) -> bytes:
    folder = evidence_folder(system.target)
    return (
        msgspec.json.format(
            msgspec.json.encode(
                {
                    "file": path.name,
                    "rows": result.rows,
                    "bytes": result.size,
                    "sha256": result.sha256,
                    **request.described(),
                    "log": f"{system.store.namespace}/audit",
                    "written": rfc3339(await system.store.records.time_ms()),
                    "partitions": [_described(part, folder) for part in result.partitions],
                }
            )
        )
        + b"\n"
    )


def _described(part: PartitionExport, folder: Path | None) -> dict[str, Any]:
    note = newest_note(folder, part.partition)
    result = part.result
    return {
        "partition": part.partition,
        "rows": part.rows,
        "first": part.first,
        "last": part.last,
        "read": {"first": part.begin.seq + 1, "last": part.read.seq, "head": part.read.head},
        "chain_holds": result is not None and result.ok,
        "problem": result.problem if result else "",
        "checkpoint": note or None,
        "checkpoint_covers": bool(note) and note_size(note) >= (part.last or 0),
    }


def _draft_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _mark_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.part.json")


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    """The file that is written to; what of it can be gone on with is kept after a failure, the rest is not."""
    draft = _draft_path(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockHeld(f"another export to {path} is going on", path=str(path)) from None
            os.fchmod(file.fileno(), 0o600)
            try:
                yield file
            except BaseException:
                if not _mark_path(path).exists():
                    draft.unlink(missing_ok=True)
                with suppress(OSError):
                    file.close()
                raise
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}; what was there before is as it was",
            hint="once there is room: the same command with --resume" if _mark_path(path).exists() else (),
            path=str(path),
        ) from error


def _mark_of(path: Path, file: BinaryIO, about: dict[str, Any], log: str) -> _Mark | None:
    try:
        with open_plain(_mark_path(path)) as source:
            mark = _read_mark(source.read())
    except (OSError, ValueError):
        return None
    size = os.fstat(file.fileno()).st_size
    return mark if (mark.request, mark.log) == (about, log) and mark.progress.size <= size else None


def _kept(file: BinaryIO, size: int) -> Any:
    """Cut the file to what is known to be good; the digest of that."""
    file.truncate(size)
    file.seek(0)
    digest = hashlib.sha256()
    while data := file.read(_CHUNK):
        digest.update(data)
    return digest


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
