"""The database of an event store: how it is opened, and how its failures are told."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from mas_core.errors import ConfigurationError, EventStoreUnavailable
from mas_core.events import tables
from mas_core.settings.private_files import private_dir

_BUSY_MS: Final = 10_000
_EXTRAS: Final = {"postgresql": "mas[postgres]", "mssql": "mas[mssql]"}


class Database:
    """An open database with the tables of an event store.

    Args:
        where: A file for SQLite, made with mode 0600, or any URL that SQLAlchemy knows.

    Raises:
        EventStoreUnavailable: It does not answer, or is none.
        ConfigurationError: The URL cannot be used, or its driver is not installed.
    """

    def __init__(self, where: Path | str) -> None:
        url = _url(where)
        self.shown = url.render_as_string(hide_password=True)
        self.is_in_memory = url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}
        if url.get_backend_name() == "sqlite" and not self.is_in_memory:
            _make_private(Path(str(url.database)))
        self._engine = _engine(url, is_in_memory=self.is_in_memory)
        try:
            self._prepare()
        except BaseException:
            self._engine.dispose()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of it or nothing.

        Raises:
            EventStoreUnavailable: The database failed.
        """
        with self._failures(), self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close its connections."""
        with suppress(SQLAlchemyError):
            self._engine.dispose()

    def _prepare(self) -> None:
        with self._failures():
            with suppress(IntegrityError):
                # Somebody else may make them at the same time.
                tables.metadata.create_all(self._engine)
            with suppress(IntegrityError), self._engine.begin() as connection:
                if connection.execute(tables.has_head()).first() is None:
                    connection.execute(tables.first_head())

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            # Values that did not fit may stand in further lines.
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0][:200]
            raise EventStoreUnavailable(f"the database of events {self.shown} failed: {reason}") from None


def _url(where: Path | str) -> URL:
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(Path(where).expanduser().absolute()))
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "the URL of the event store cannot be read", hint="sqlite:///events.sqlite"
        ) from None
    if url.drivername == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.drivername == "mssql":
        return url.set(drivername="mssql+mssqlpython")
    return url


def _engine(url: URL, *, is_in_memory: bool) -> Engine:
    try:
        if is_in_memory:
            engine = create_engine(
                url, hide_parameters=True, poolclass=StaticPool, connect_args={"check_same_thread": False}
            )
        else:
            engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        extra = _EXTRAS.get(url.get_backend_name(), "the driver of this database")
        raise ConfigurationError(
            f"the driver {url.drivername} of the event store is not installed: {error}",
            hint=f"pip install '{extra}'" if extra.startswith("mas") else (),
        ) from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    cursor = connection.cursor()
    # What is acknowledged is on the disk; readers and the one writer do not wait for each other.
    for setting in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY_MS}"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _make_private(path: Path) -> None:
    """The file and its folder are for their owner only; SQLite gives its other files the same mode."""
    if not path.parent.is_dir():
        private_dir(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        opened = os.open(path, flags, 0o600)
        try:
            if os.fstat(opened).st_mode & 0o077:
                os.fchmod(opened, 0o600)
        finally:
            os.close(opened)
    except OSError as error:
        raise EventStoreUnavailable(f"{path} cannot be used for events: {error.strerror}") from None
