"""The standard streams of this process, made into `Output` and `Diagnostics`."""

from __future__ import annotations

import os
import shutil
import sys
from typing import BinaryIO, cast

from mas_cli.errors import OutputFailed
from mas_cli.input.shared_flags import SharedFlags
from mas_cli.output.colours import Palette, palette_for
from mas_cli.output.diagnostics import Diagnostics
from mas_cli.output.formats import Format, Output, OutputOptions
from mas_cli.output.pager import PagedStream, wanted_pager
from mas_core.errors import UsageError


def standard_output(schema: str, flags: SharedFlags, default: Format) -> Output:
    """Standard output as `flags` and the terminal want it.

    Raises:
        UsageError: A flag has a value that it cannot have.
    """
    is_terminal = sys.stdout.isatty()
    options = OutputOptions(
        format=flags.output_format(default),
        columns=flags.columns,
        headers=not flags.no_headers,
        envelope=flags.envelope,
        utc=flags.utc,
        width=shutil.get_terminal_size().columns if is_terminal else None,
        palette=palette_for(flags.color, is_terminal),
    )
    stream = cast("BinaryIO", sys.stdout.buffer)
    if is_terminal and (pager := wanted_pager(flags.pager)):
        stream = cast("BinaryIO", PagedStream(stream, pager))
    return Output(stream, schema, options)


def write_page(text: str) -> None:
    """Write a help page of ours to standard output."""
    Output(cast("BinaryIO", sys.stdout.buffer), "", OutputOptions()).write(text + "\n")


def standard_error(
    flags: SharedFlags | None = None,
    *,
    json_errors: bool = False,
    debug: bool = False,
    color: str | None = None,
) -> Diagnostics:
    """Standard error; without `flags`, but for `color`, before they are known.

    Raises:
        UsageError: A flag has a value that it cannot have.
    """
    is_terminal = sys.stderr.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else None
    if flags is None:
        return Diagnostics(
            sys.stderr,
            _early_palette(color, is_terminal=is_terminal),
            json_errors=json_errors,
            debug=debug,
            width=width,
        )
    return Diagnostics(
        sys.stderr,
        palette_for(flags.color, is_terminal),
        quiet=flags.quiet,
        verbosity=flags.verbose,
        json_errors=json_errors,
        debug=flags.debug,
        width=width,
    )


def _early_palette(color: str | None, *, is_terminal: bool) -> Palette:
    """The palette of an error that came before the flags were understood, this one perhaps the wrong one."""
    try:
        return palette_for(color, is_terminal)
    except UsageError:
        return palette_for(None, is_terminal)


def can_ask() -> bool:
    """Whether a person sits at both ends of a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def flush_or_discard() -> bool:
    """Hand over what standard output still holds; whether somebody took it.

    What nobody takes is thrown away, so that the interpreter does not complain on its way out.

    Raises:
        OutputFailed: It cannot be written, such as to a full disk.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        discarded = os.open(os.devnull, os.O_WRONLY)
        os.dup2(discarded, sys.stdout.fileno())
        os.close(discarded)
        if not isinstance(error, BrokenPipeError):
            raise OutputFailed.of(error) from error
        return False
    return True
