"""The danger ladder: what has to be said before something is deleted.

One thing takes a `y` on a terminal or --yes; several things, or anything in a protected context, take a name
typed in full or --confirm NAME. Where nobody can be asked the answer is an error, never a wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from getpass import getpass
from typing import TextIO

from mas_cli.deadlines import interrupted_by_ctrl_c
from mas_cli.errors import Cancelled, ConfirmationNeeded
from mas_cli.output.diagnostics import Diagnostics

LISTED = 20


class Confirmation:
    """Asks, or reads the answer off the flags.

    Args:
        can_ask: Whether a question reaches somebody.
        yes: --yes was given.
        confirmed: The value of --confirm.
    """

    def __init__(
        self,
        talk: Diagnostics,
        stdin: TextIO,
        *,
        can_ask: bool,
        yes: bool = False,
        confirmed: str | None = None,
    ) -> None:
        self._talk = talk
        self._stdin = stdin
        self._can_ask = can_ask
        self._yes = yes
        self._confirmed = confirmed
        self._protected: str | None = None

    def protect(self, name: str) -> None:
        """From now on ask for `name`, that of a protected context, also for one thing."""
        self._protected = name

    def one(self, what: str) -> None:
        """Make sure that `what`, one thing, may be deleted.

        Raises:
            ConfirmationNeeded: Nobody can be asked, and no flag says yes.
            Cancelled: The answer is no.
        """
        if self._protected is not None:
            self.many([what], self._protected)
            return
        if self._yes:
            return
        if not self._can_ask:
            raise ConfirmationNeeded(
                f"this deletes {what}: say --yes to do it without a question", hint="--yes"
            )
        if self._answer(f"Delete {what}? [y/N]").lower() not in {"y", "yes"}:
            raise Cancelled

    def many(self, things: Sequence[str], name: str) -> None:
        """Make sure that all of `things` may be deleted; `name` has to be typed.

        Raises:
            ConfirmationNeeded: Nobody can be asked, and --confirm does not say `name`.
            Cancelled: The answer is another name.
        """
        name = self._protected or name
        if self._confirmed == name:
            return
        if self._confirmed is not None:
            raise ConfirmationNeeded(
                f"--confirm says {self._confirmed!r}, not {name!r}", hint=f"--confirm {name}"
            )
        shown = [*things[:LISTED], *([f"and {len(things) - LISTED} more"] if len(things) > LISTED else [])]
        if not self._can_ask:
            raise ConfirmationNeeded(
                f"this deletes {', '.join(shown)}: say --confirm {name} to do it without a question",
                hint=f"--confirm {name}",
            )
        self._talk.warn(f"this deletes {len(things)}:" if len(things) > 1 else "this deletes:")
        for thing in shown:
            self._talk.warn(f"  {thing}")
        if self._answer(f"Type {name} to go on:") != name:
            raise Cancelled

    def named(self, what: str, name: str) -> None:
        """Make sure that `what` is meant, by its `name` typed in full, --confirm NAME or --yes.

        Raises:
            ConfirmationNeeded: Nobody can be asked, and no flag says so.
            Cancelled: The answer is another name.
        """
        name = self._protected or name
        if self._confirmed == name or (self._yes and self._protected is None):
            return
        if self._confirmed is not None or not self._can_ask:
            raise ConfirmationNeeded(
                f"{what}: say --confirm {name} to do it without a question", hint=f"--confirm {name}"
            )
        self._talk.warn(what)
        if self._answer(f"Type {name} to go on:") != name:
            raise Cancelled

    def agree(self, what: Sequence[str], question: str) -> None:
        """Make sure that something may be done that destroys nothing, after `what` it is has been shown.

        Raises:
            ConfirmationNeeded: Nobody can be asked, and --yes was not given.
            Cancelled: The answer is no.
        """
        # Also -q shows what is asked about.
        tell = self._talk.say if self._yes else self._talk.warn
        for line in what:
            tell(line)
        if self._yes:
            return
        if not self._can_ask:
            raise ConfirmationNeeded(f"{question} Say --yes to do it without a question", hint="--yes")
        if self._answer(f"{question} [y/N]").lower() not in {"y", "yes"}:
            raise Cancelled

    def secret(self, question: str, hint: str) -> str:
        """Ask for a secret, which is not shown.

        Raises:
            ConfirmationNeeded: Nobody can be asked.
        """
        if not self._can_ask:
            raise ConfirmationNeeded("a passphrase is needed, and nobody can be asked", hint=hint)
        try:
            with interrupted_by_ctrl_c():
                return getpass(f"{question} ")
        except EOFError:
            return ""

    def _answer(self, question: str) -> str:
        try:
            with interrupted_by_ctrl_c():
                self._talk.ask(question)
                return self._stdin.readline().strip()
        except KeyboardInterrupt:
            self._talk.end_line()
            raise
