"""Users of the server as rows, and what keeps them from lasting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mas_cli.output.columns import Column
from mas_cli.output.diagnostics import Diagnostics

if TYPE_CHECKING:
    from mas_core.ops.server_users import Applied, ServerUserInfo

USER_COLUMNS = (
    Column("user", whole=True, style=lambda _: "name"),
    Column("kind"),
    Column("agent"),
    Column("change"),
    Column("login"),
    Column("rules", flexible=True),
)


def user_row(item: ServerUserInfo) -> dict[str, object]:
    """One user; never its password."""
    return {
        "user": item.user,
        "kind": item.kind,
        "agent": item.agent,
        "change": item.change,
        "login": None if item.path is None else str(item.path),
        "rules": " ".join(item.rules),
    }


def say_kept(talk: Diagnostics, applied: Applied) -> None:
    """Say which nodes will not have the users when they start again."""
    for place in applied.kept.unreached:
        talk.say(f"the replica {place} does not answer; run this again when it does")
    for place in applied.kept.forgetful:
        where = f"the server at {place}" if place else "the server"
        talk.say(f"{where} has no aclfile, so it forgets its users when it ends; mas up puts them back")
