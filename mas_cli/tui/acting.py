"""Acting on rows: the menu, the question, the doing, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual import work

from mas_cli.operator_permissions import permission_of
from mas_cli.output.safe_text import safe_text
from mas_cli.routing import command_at
from mas_cli.tui.actions import Action, Answers
from mas_cli.tui.dialogs import ActionDialog, ActionMenu, Asked, ReadWindow
from mas_cli.tui.row_keys import RowKeys
from mas_core.errors import MasError, RoleForbidden

if TYPE_CHECKING:
    from mas_core.ops.system import System


COMPLAINT_S = 15.0
"""How long it is said what went wrong."""


class Acting(RowKeys):
    """The part of the dashboard that does what commands do."""

    system: System | None
    _complained: Mapping[str, float] = MappingProxyType({})

    def reload(self) -> None:
        """Load what the screen that is seen shows, now."""
        raise NotImplementedError

    def complain(self, error: MasError) -> None:
        """Say what went wrong, and what to type; not again while it still stands there."""
        now = time.monotonic()
        if self._complained.get(error.message, 0.0) > now:
            return
        said = {text: until for text, until in self._complained.items() if until > now}
        self._complained = {**said, error.message: now + COMPLAINT_S}
        tries = "".join(
            f"\ntry  {safe_text(line, 200)}" for hint in error.hint[:3] for line in hint.splitlines()
        )
        self.notify(
            safe_text(error.message, 400) + tries, severity="error", markup=False, timeout=COMPLAINT_S
        )

    def action_row_actions(self) -> None:
        """The menu of what can be done to the marked rows, or the chosen one."""
        items = self.pane.chosen_items()
        records = [self.pane.record_of(item) for item in items]
        names = [self.pane.name_of(item) for item in items]
        self.offer(
            [action for action in self.pane.actions() if all(map(action.applies, records))], records, names
        )

    def offer(self, actions: Sequence[Action], records: Sequence[Any], names: Sequence[str]) -> None:
        """Let one of some actions be chosen, and do it once it is confirmed."""
        locked = ""
        if self.board.read_only:
            locked = "nothing can be changed: " + (
                "this is a replay" if self.board.replay is not None else "read-only"
            )
        what = names[0] if len(names) == 1 else f"{len(names)} rows" if names else self.pane.title

        about = records[0] if records else {}
        refused = {action.id for action in actions if self._refusal(action, about, {}) is not None}

        def chosen(action: Action | None) -> None:
            if action is not None and action.id in refused:
                self._refuse(action, about)
            elif action is not None:
                self.ask(action, records or [{}], names or [self.pane.title])

        self.push_screen(ActionMenu(actions, safe_text(what, 70), locked=locked, refused=refused), chosen)

    def ask(self, action: Action, records: Sequence[Any], names: Sequence[str]) -> None:
        """Ask before an action; one that only reads and needs nothing is done at once."""
        if action.about is not None:
            records = list(action.about())
            names = [self.pane.name_of(record) for record in records]
        if action.go is not None and not action.questions:
            self._go(action, records, {})
        elif action.impact == "read" and not action.questions:
            self._act(action, records, {"reason": ""})
        elif action.prepare is not None and self.system is not None:
            self._prepare(action, records, names)
        else:
            self._confirm(action, records, names)

    @work(group="act")
    async def _prepare(self, action: Action, records: Sequence[Any], names: Sequence[str]) -> None:
        if self.system is None or action.prepare is None:
            return
        try:
            prepared = [await action.prepare(self.system, record) for record in records]
        except MasError as error:
            self.complain(error)
            return
        self._confirm(action, prepared, names)

    def _confirm(self, action: Action, records: Sequence[Any], names: Sequence[str]) -> None:
        target = self.board.target

        def answered(answers: Answers | None) -> None:
            if answers is not None and action.go is not None:
                self._go(action, records, answers)
            elif answers is not None:
                self._act(action, records, answers)

        self.push_screen(ActionDialog(Asked(action, records, names, target.name, target.protected)), answered)

    def _go(self, action: Action, records: Sequence[Any], answers: Answers) -> None:
        for record in records:
            if action.go is not None:
                action.go(record, answers)
        self.mark_dirty()

    @work(group="act")
    async def _act(self, action: Action, records: Sequence[Any], answers: Answers) -> None:
        system = self.system
        if system is None:
            return
        told: list[str] = []
        try:
            if action.run_all is not None:
                lines = [action.command_line(record, answers) for record in records]
                for record in records[:1]:
                    await self._admit(system, action, record, answers)
                self._begin(system, " && ".join(dict.fromkeys(lines)), answers)
                told.append(await action.run_all(system, records, answers))
                self.board.commands.extend(dict.fromkeys(safe_text(line, 400) for line in lines))
            elif action.run is not None:
                for record in records:
                    line = action.command_line(record, answers)
                    await self._admit(system, action, record, answers)
                    self._begin(system, line, answers)
                    told.append(await action.run(system, record, answers))
                    self.board.commands.append(safe_text(line, 400))
        except MasError as error:
            self.complain(error)
        if told:
            self._tell(action, told)
        if self.pane.table is not None:
            self.pane.table.marked.clear()
        self.reload()
        self.mark_dirty()

    def _refusal(self, action: Action, record: Any, answers: Answers) -> RoleForbidden | None:
        """Why the role of the operator does not permit what the same command takes; None if it does."""
        if self.system is None or self.system.access.role is None or action.go is not None:
            return None
        try:
            command = command_at(action.words(record, answers))
            needed = (permission_of(command) or "see") if command else "own"
            self.system.access.require(needed, f"mas {command.name}" if command else action.label)
        except RoleForbidden as error:
            return error
        except (KeyError, IndexError):
            # What it does cannot be said before it is asked for more.
            return None
        return None

    @work(group="act")
    async def _refuse(self, action: Action, record: Any) -> None:
        try:
            if self.system is not None:
                await self._admit(self.system, action, record, {})
        except RoleForbidden as error:
            self.complain(error)

    async def _admit(self, system: System, action: Action, record: Any, answers: Answers) -> None:
        """Make sure that the role of the operator permits an action; what it does not is recorded.

        Raises:
            RoleForbidden: It does not.
        """
        error = self._refusal(action, record, answers)
        if error is not None:
            self._begin(system, action.command_line(record, answers), answers)
            command = command_at(action.words(record, answers))
            await system.operator_log.denied(
                (command.name if command else "unknown").replace(" ", "."), error.message
            )
            raise error

    def _begin(self, system: System, line: str, answers: Answers) -> None:
        system.operator_log.explain(
            context=self.board.target.name, command=line, reason=answers.get("reason", "")
        )

    def _tell(self, action: Action, told: Sequence[str]) -> None:
        if "\n" in told[0]:
            lines = [safe_text(line, 2000) for text in told for line in text.splitlines()]
            self.push_screen(ReadWindow(action.label, Text("\n".join(lines))))
            return
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        self.notify(safe_text(told[0], 400) + more, markup=False)
