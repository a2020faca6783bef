"""Secrets that were read are taken out of logs, errors and crash reports, whoever puts them there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from io import StringIO

import pytest

from mas_cli.output.colours import Palette
from mas_cli.output.crash_report import report
from mas_cli.output.diagnostics import Diagnostics
from mas_cli.output.exit_codes import ExitCode
from mas_core.base import known_secrets
from mas_core.base.known_secrets import hidden, remember
from mas_core.base.logs import get_logger, log_to_stderr
from mas_core.errors import UsageError
from mas_core.settings.secrets import resolve

SECRET = "p@ss-w0rd of ours"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(known_secrets, "_known", set())


def test_what_was_resolved_is_hidden_from_then_on(tmp_path, monkeypatch):
    """As it is, and as it stands in a URL; the longer one first, and short words stay."""
    assert hidden(f"with {SECRET}") == f"with {SECRET}"
    monkeypatch.setenv("OUR_SECRET", SECRET)
    resolve("env:OUR_SECRET", tmp_path)
    remember(f"{SECRET}, longer")
    remember("short")

    assert hidden(f"{SECRET} p%40ss-w0rd%20of%20ours {SECRET}, longer short") == "**** **** **** short"


@pytest.mark.parametrize("as_json", [False, True])
def test_what_the_command_says_of_an_error_does_not_show_it(as_json):
    """With its traceback, as a block and as JSON."""
    remember('p"ss-wörd')
    said = StringIO()
    talk = Diagnostics(said, Palette(enabled=False), json_errors=as_json, debug=True)

    talk.error(UsageError('cannot use p"ss-wörd'), ExitCode.USAGE)

    assert "cannot use" in said.getvalue()
    assert "ss-w" not in said.getvalue()


def test_logs_and_crash_reports_do_not_show_it(capfd):
    """Neither ours nor those of other libraries."""
    remember(SECRET)
    before = [
        (logger, logger.handlers[:], logger.level)
        for logger in (logging.getLogger(), logging.getLogger("mas_core"))
    ]
    try:
        log_to_stderr(of_everybody=True)
        get_logger("mas_core.test").warning("went_wrong", reason=f"cannot use {SECRET}")
        logging.getLogger("elsewhere").warning("cannot use %s", SECRET)
    finally:
        import sys

        sys.excepthook = sys.__excepthook__
        logging.captureWarnings(capture=False)
        for logger, handlers, level in before:
            logger.handlers[:], logger.level = handlers, level
    crash = report(ValueError(f"cannot use {SECRET}"), "status", datetime.now(UTC))

    said = "".join(capfd.readouterr())
    assert "went_wrong" in said
    assert "elsewhere" in said
    assert "ValueError" in crash
    assert SECRET not in said + crash
