"""Where archived files go: a folder, or any place that fsspec knows by its URL.

A file is there whole or not at all as far as the place allows it: a folder gets it under another name first,
fsynced and renamed. What a place says it has taken is never believed; whoever archives reads it back.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import ENOENT
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import urlsplit

from mas_core.audit.durable_files import sync_folder
from mas_core.base.known_secrets import hidden
from mas_core.errors import ArchiveUnavailable, ConfigurationError, MasError
from mas_core.settings.masking import mask_url
from mas_core.settings.private_files import private_dir

_PART_MARK = ".part-"


class ArchiveTarget(Protocol):
    """A place for archived files; names are relative, with `/` between their parts."""

    @property
    def shown(self) -> str:
        """Where it is, without secrets."""

    def put(self, name: str, source: BinaryIO) -> None:
        """Store what `source` holds under a name; what is there already is replaced.

        Raises:
            ArchiveUnavailable: The place does not take it.
        """

    def open(self, name: str) -> BinaryIO | None:
        """A stored file for reading; None when there is none.

        Raises:
            ArchiveUnavailable: The place does not answer.
        """

    def names(self) -> list[str]:
        """Names of all stored files, sorted.

        Raises:
            ArchiveUnavailable: The place does not answer.
        """

    def delete(self, name: str) -> None:
        """Delete a stored file; none at all is fine too.

        Raises:
            ArchiveUnavailable: The place does not do it.
        """


def open_target(url: str, system: str, options: Mapping[str, str] | None = None) -> ArchiveTarget:
    """The place at `url` in which the files of one system lie.

    Args:
        url: A path, or what fsspec takes: s3://bucket/path, gcs://..., abfs://..., sftp://..., memory://...
        system: Name of a folder there, so that several systems can share an archive; empty for the place itself.
        options: What fsspec takes beside the URL.

    Raises:
        ConfigurationError: The URL cannot be used, holds a password, or needs a library that is not there.
        ArchiveUnavailable: The place does not answer.
    """
    if mask_url(url) != url:
        raise ConfigurationError(
            "the URL of the archive holds a password, which others could read",
            hint="write  options: {secret: env:NAME}  below it, or ~/.config/fsspec/conf.json",
        )
    parts = urlsplit(url)
    if "://" not in url or parts.scheme == "file":
        if parts.netloc not in ("", "localhost") and parts.scheme == "file":
            raise ConfigurationError(f"{url} names a machine; mount its folder, and give the path")
        folder = Path(parts.path if parts.scheme == "file" else url).expanduser()
        return FolderTarget(folder / system if system else folder)
    try:
        import fsspec  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise ConfigurationError(
            f"{url} is no folder, and the library for other places is not there",
            hint="pip install 'mas[archive]'",
        ) from None
    try:
        files, root = fsspec.core.url_to_fs(url, **(options or {}))
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{url} cannot be used: {_said(error)}", hint="pip install s3fs") from error
    except Exception as error:
        raise ArchiveUnavailable(f"{url} cannot be reached: {_said(error)}", url=url) from error
    return FsspecTarget(
        files, f"{root.rstrip('/')}/{system}".rstrip("/"), f"{url.rstrip('/')}/{system}".rstrip("/")
    )


class FolderTarget:
    """A folder, such as another disk that is mounted here.

    Args:
        folder: Where; made with mode 0700 when the first file comes, in a folder that has to be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    @property
    def shown(self) -> str:
        """Its path."""
        return str(self._folder)

    def put(self, name: str, source: BinaryIO) -> None:
        """Store a file: under another name, fsynced, renamed, with its folder fsynced."""
        path = self._path(name)
        draft = path.with_name(f".{path.name}{_PART_MARK}{secrets.token_hex(6)}")
        with self._translated(name):
            if not self._folder.parent.is_dir():
                # Made here, it would hide that a disk is not mounted.
                raise FileNotFoundError(ENOENT, "the folder is not there")
            private_dir(self._folder)
            private_dir(path.parent)
            try:
                self._clear_parts(path)
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                    shutil.copyfileobj(source, file)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
                sync_folder(path.parent)
            finally:
                draft.unlink(missing_ok=True)

    def open(self, name: str) -> BinaryIO | None:
        """A stored file; links and what is no plain file are refused."""
        path = self._path(name)
        with self._translated(name):
            try:
                file = os.fdopen(
                    os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC),
                    "rb",
                )
            except (FileNotFoundError, NotADirectoryError):
                return None
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                file.close()
                raise OSError("it is not a plain file")
            return file

    def names(self) -> list[str]:
        """Names of all files; those that were not finished are left out."""
        with self._translated(""):
            return sorted(
                path.relative_to(self._folder).as_posix()
                for path in self._folder.rglob("*")
                if _PART_MARK not in path.name and path.is_file()
            )

    def delete(self, name: str) -> None:
        """Delete a file."""
        path = self._path(name)
        with self._translated(name), contextlib.suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)

    def _path(self, name: str) -> Path:
        return self._folder / checked_name(name)

    @staticmethod
    def _clear_parts(path: Path) -> None:
        """Remove what a copy of this file left behind that was interrupted."""
        for part in path.parent.glob(f".{path.name}{_PART_MARK}*"):
            part.unlink(missing_ok=True)

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _unavailable(self.shown, name, error.strerror or _said(error)) from error
        except ConfigurationError as error:
            raise _unavailable(self.shown, name, error.message) from error


class FsspecTarget:
    """A place that fsspec reaches.

    Args:
        files: The file system of fsspec.
        root: The folder in it.
        shown: Its URL.
    """

    def __init__(self, files: Any, root: str, shown: str) -> None:
        self._files = files
        self._root = root
        self._shown = shown

    @property
    def shown(self) -> str:
        """Its URL."""
        return self._shown

    def put(self, name: str, source: BinaryIO) -> None:
        """Store a file; whether a part of it can be seen meanwhile depends on the place."""
        path = self._path(name)
        with self._translated(name):
            self._files.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
            with self._files.open(path, "wb") as file:
                shutil.copyfileobj(source, file)

    def open(self, name: str) -> BinaryIO | None:
        """A stored file."""
        path = self._path(name)
        with self._translated(name):
            self._files.invalidate_cache()
            try:
                return cast("BinaryIO", self._files.open(path, "rb"))
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        """Names of all files."""
        with self._translated(""):
            self._files.invalidate_cache()
            if not self._files.exists(self._root):
                return []
            root = str(self._files._strip_protocol(self._root)).strip("/")  # noqa: SLF001 - its documented way
            found = (str(path).strip("/") for path in self._files.find(self._root))
            return sorted(path.removeprefix(root).lstrip("/") for path in found)

    def delete(self, name: str) -> None:
        """Delete a file."""
        path = self._path(name)
        with self._translated(name), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(path)

    def _path(self, name: str) -> str:
        return f"{self._root}/{checked_name(name)}"

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except MasError:
            raise
        except Exception as error:
            # Each kind of place raises errors of its own library.
            raise _unavailable(self.shown, name, _said(error)) from error


def checked_name(name: str) -> str:
    """`name` when it stays in the folder of the archive.

    Raises:
        ConfigurationError: It leads out of it.
    """
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or not path.parts
        or any(part in ("..", ".") or "\0" in part for part in path.parts)
    ):
        raise ConfigurationError(f"{name!r} is no name of an archived file")
    return name


def _unavailable(where: str, name: str, why: str) -> ArchiveUnavailable:
    what = f"{where}/{name}" if name else where
    return ArchiveUnavailable(
        f"the archive cannot be used: {what}: {why}", hint="mas audit archive", url=where, file=name
    )


def _said(error: BaseException) -> str:
    return hidden((str(error) or type(error).__name__).splitlines()[0])[:200]
