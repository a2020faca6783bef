"""Copies of the evidence itself, for somebody who has nothing else: segments, hashes, checkpoints, public keys."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from mas_core.audit.checkpoint_keys import PUBLIC_FILE, ROTATIONS_FILE, SYSTEM_FILE
from mas_core.audit.durable_files import sync_folder
from mas_core.audit.evidence_reader import (
    CHECKPOINTS_NAME,
    HASHES_NAME,
    OPEN_NAME,
    EvidenceReader,
    open_plain,
)
from mas_core.audit.index import INDEX_NAME
from mas_core.audit.merkle import HASH_SIZE, stored_count
from mas_core.audit.record_files import RecordFiles, Span
from mas_core.errors import ConfigurationError, Conflict, NotFound
from mas_core.model.audit_record import AuditRecord
from mas_core.ops.audit_sources import decoded, evidence_folder
from mas_core.ops.system import System
from mas_core.settings.private_files import private_dir

_CHUNK: Final = 1 << 20


class Copied(NamedTuple):
    """What was copied of one partition."""

    partition: int
    first: int | None
    """Number of the first record; None when there is none of the span."""
    last: int | None
    files: int
    bytes: int
    path: Path


def copy_evidence(system: System, path: Path, *, since: int = 0, until: int = 0) -> list[Copied]:
    """Copy the evidence of a span to a new folder, which appears when it is complete.

    Segments come whole, so some records before and after the span come with it. Checkpoints and the hashes of
    the tree come from the beginning: with them what is there can be proven without what is not.

    Args:
        system: The system.
        path: The new folder.
        since: Unix milliseconds; 0 for all.
        until: Unix milliseconds; 0 for all.

    Raises:
        NotFound: There is no evidence folder.
        Conflict: Something is at `path` already.
        ConfigurationError: It cannot be written; nothing is left of it.
    """
    folder = evidence_folder(system.target)
    if folder is None:
        raise NotFound(
            "there is no evidence folder: nobody signs this log outside of the server",
            hint=("mas audit notary run", "mas audit export --out FILE"),
        )
    path = path.absolute()
    if path.exists() or path.is_symlink():
        raise Conflict(f"{path} exists", hint="name a folder that is not there yet", path=str(path))
    draft = path.with_name(f".{path.name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for name in (PUBLIC_FILE, ROTATIONS_FILE, SYSTEM_FILE):
            if (folder / name).is_file():
                _copy(folder / name, draft / name)
        found = [
            _copy_partition(folder, draft, partition, since, until)._replace(path=path)
            for partition in range(system.store.width)
        ]
        sync_folder(draft)
        draft.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}", path=str(path)
        ) from error
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return found


def _copy_partition(folder: Path, draft: Path, partition: int, since: int, until: int) -> Copied:
    source = EvidenceReader(folder, partition).path
    target = private_dir(draft / f"p{partition}")
    spans: list[Span] = []
    if not source.is_dir():
        return Copied(partition, None, None, 0, 0, draft)
    # What checkpoints name is on the disk before they are: read first, they name nothing that is not copied.
    sizes = [_copy(source / CHECKPOINTS_NAME, target / CHECKPOINTS_NAME)]
    with _opened(source / OPEN_NAME) as newest:
        files = RecordFiles(folder, partition, lambda _: None)
        for segment in EvidenceReader(folder, partition).segments():
            if _is_wanted(files, Span(segment.first, segment.last), since, until):
                sizes.append(_copy(segment.path, target / segment.path.name))
                spans.append(Span(segment.first, segment.last))
        size = files.size
        if newest is not None:
            sizes.append(_copy_lines(newest, target / OPEN_NAME))
    if files.spans and (not spans or spans[-1].last < size):
        begin = spans[-1].last + 1 if spans else files.spans[-1].first
        if _is_wanted(files, Span(begin, size), since, until):
            spans.append(Span(begin, size))
    sizes.append(_copy(source / HASHES_NAME, target / HASHES_NAME, limit=stored_count(size) * HASH_SIZE))
    for other in sorted(source.iterdir()):
        is_known = other.name in {CHECKPOINTS_NAME, OPEN_NAME, HASHES_NAME} or other.suffix == ".zst"
        if not is_known and not other.name.startswith((".", INDEX_NAME)) and other.is_file():
            sizes.append(_copy(other, target / other.name))
    sync_folder(target)
    return Copied(
        partition,
        spans[0].first if spans else None,
        spans[-1].last if spans else None,
        len([size for size in sizes if size]),
        sum(sizes),
        draft,
    )


def _is_wanted(files: RecordFiles, span: Span, since: int, until: int) -> bool:
    """Whether records of the span can lie between the times; what cannot be read is wanted."""
    oldest, newest = _record(files, span.first), _record(files, span.last)
    is_before = newest is not None and newest.time < since
    return not is_before and not (until and oldest is not None and oldest.time >= until)


def _record(files: RecordFiles, seq: int) -> AuditRecord | None:
    found = files.read(seq, seq)
    return decoded(found[0][1]) if found else None


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | None]:
    try:
        file = open_plain(path)
    except FileNotFoundError:
        yield None
        return
    with file:
        yield file


def _copy(source: Path, target: Path, *, limit: int | None = None) -> int:
    """Copy a file as it is now, or its beginning; how many bytes."""
    with _opened(source) as file:
        if file is None:
            return 0
        left = os.fstat(file.fileno()).st_size
        left = left if limit is None else min(left, limit)
        size = 0
        with _new(target) as copy:
            while data := file.read(min(_CHUNK, left - size)):
                size += copy.write(data)
        return size


def _copy_lines(file: BinaryIO, target: Path) -> int:
    """Copy the whole lines of a file that grows."""
    data = file.read()
    data = data[: data.rfind(b"\n") + 1]
    with _new(target) as copy:
        return copy.write(data)


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
