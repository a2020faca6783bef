"""Changes to rules that were collected and are not in force: they are applied at once, with one reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from mas_cli.output.columns import Record
from mas_cli.tui.actions import Action, Answers, Question
from mas_core.errors import MasError

if TYPE_CHECKING:
    from mas_core.model.policy import PolicyDocument
    from mas_core.ops.system import System


class PendingRules:
    """The changes, in the order in which they were made."""

    def __init__(self) -> None:
        self.changes: list[Record] = []

    def add(self, effect: str, answers: Answers) -> None:
        """A rule is to be added."""
        wanted = {
            "change": effect, "from": answers["from"], "to": answers["to"], "type": answers["type"] or "*",
        }  # fmt: skip
        if wanted not in self.changes:
            self.changes.append(wanted)

    def revoke(self, rule: Record) -> None:
        """A rule is to go; asked for a second time, it is to stay."""
        without = [change for change in self.changes if change.get("id") != rule["id"]]
        if len(without) == len(self.changes):
            without.append({**rule, "change": "revoke"})
        self.changes = without

    def clear(self) -> None:
        """Nothing is to change."""
        self.changes = []

    def applied(self, document: PolicyDocument) -> PolicyDocument:
        """The policy as it would be; as it is, where that cannot be."""
        from mas_core.ops import rbac

        try:
            return rbac.with_changes(document, self._additions(), self._removals())
        except MasError:
            return document

    def _additions(self) -> list[tuple[Any, str, str, str]]:
        return [
            (change["change"], str(change["from"]), str(change["to"]), str(change["type"]))
            for change in self.changes
            if change["change"] != "revoke"
        ]

    def _removals(self) -> list[str]:
        return [str(change["id"]) for change in self.changes if change["change"] == "revoke"]

    async def _apply(self, system: System, records: Sequence[Record], answers: Answers) -> str:  # noqa: ARG002 - one signature for all
        from mas_core.ops import rbac

        await rbac.change_rules(
            system, add=self._additions(), remove=self._removals(), reason=answers["reason"]
        )
        count = len(self.changes)
        self.clear()
        return f"{count} {'change is' if count == 1 else 'changes are'} in force"

    def collecting(self, *, is_on_rule: bool, changed: Callable[[], None]) -> tuple[Action, ...]:
        """Actions that collect changes, and those that end that.

        Args:
            is_on_rule: Whether a rule is chosen, which can be revoked.
            changed: Called when the changes are others.
        """

        def doing(change: Callable[[Record, Answers], None]) -> Callable[[Record, Answers], None]:
            def go(record: Record, answers: Answers) -> None:
                change(record, answers)
                changed()

            return go

        found = [
            Action("rule.allow", "allow", "write", lambda _, answers: _words({**answers, "change": "allow"}),
                   questions=_ENDS, go=doing(lambda _, answers: self.add("allow", answers))),
            Action("rule.deny", "deny", "write", lambda _, answers: _words({**answers, "change": "deny"}),
                   questions=_ENDS, go=doing(lambda _, answers: self.add("deny", answers))),
        ]  # fmt: skip
        if is_on_rule:
            found.append(
                Action("rule.revoke", "revoke", "write", lambda record, _: _words({**record, "change": "revoke"}),
                       go=doing(lambda record, _: self.revoke(record)))
            )  # fmt: skip
        if self.changes:
            count = len(self.changes)
            found.insert(
                0,
                Action("rule.apply", f"apply the {count} pending", "write", lambda record, _: _words(record),
                       run_all=self._apply, about=lambda: self.changes),
            )  # fmt: skip
            found.append(
                Action("rule.discard", f"discard the {count} pending", "read", lambda *_: (),
                       go=doing(lambda *_: self.clear()))
            )  # fmt: skip
        return tuple(found)


def in_words(change: Record) -> str:
    """A change in a few words."""
    rule = f"{change['from']} to {change['to']} {change['type']}"
    if change["change"] == "revoke":
        return f"- {change['id']} {change['effect']} {rule}"
    return f"+ {change['change']} {rule}"


_ENDS = (
    Question("from", "from (agent, role:NAME or *)", lambda record: str(record.get("from", ""))),
    Question("to", "to (agent, role:NAME or *)", lambda record: str(record.get("to", ""))),
    Question("type", "type (a glob)", lambda _: "*"),
)


def _words(change: Record) -> tuple[str, ...]:
    """The command that makes a change alone."""
    if change["change"] == "revoke":
        return ("rbac", "revoke", str(change["id"]))
    kind = str(change.get("type", "*"))
    return (
        *("rbac", str(change["change"]), str(change.get("from", "")), str(change.get("to", ""))),
        *(("--type", kind) if kind not in ("", "*") else ()),
    )
