"""The screen of agents: groups, the spec, and an edit of a state."""

import json

from mas_cli.tui.board import Board
from mas_cli.tui.screens import agents as agents_screen
from mas_core.ops import state


async def test_agents_are_grouped_and_reached_by_name(dashboard):
    """`g` puts them under their capabilities; going to one by name shows it, whatever hid it."""
    async with dashboard(first=3) as seen:
        await seen.until("notebook")
        await seen.press("g")
        rows = seen.app.pane.table.rows.items
        assert [(row["group"], row.get("id")) for row in rows][:5] == [
            ("math", None), ("math", "calculator"), ("math", "notebook"), ("notes", None), ("notes", "notebook"),
        ]  # fmt: skip
        assert "no capability  4" in seen.text()
        await seen.press("home", "a")
        assert "Agents" in seen.text()
        await seen.press("escape", "g")
        assert "no capability" not in seen.text()

        seen.app.pane.go_to("calculator")
        await seen.until(lambda: "spec" in seen.app.pane._told)
        await seen.press("space", "escape")
        seen.app.pane.query_one("TabbedContent").active = "agent-spec"
        await seen.until("no spec names it")
        await seen.pick("its health")
        await seen.until("ok  ")


async def test_a_state_is_edited_with_its_difference_and_its_revision(dashboard):
    """Who changed it meanwhile is not overwritten."""
    async with dashboard(first=3) as seen:
        await state.set_part(seen.system, "sleeper", "mood", "tired")
        await seen.until("sleeper")
        seen.app.pane.go_to("sleeper")
        await seen.pick("edit its state")
        await seen.until("edit its state  ·  demo")
        field = seen.app.screen.query_one("#q-state")
        assert json.loads(field.text) == {"mood": "tired"}
        field.text = '{"mood": "awake"'
        await seen.until(lambda: "JSON" in str(seen.app.screen.query_one("#preview")._shown))
        field.text = '{"mood": "awake"}'
        await seen.until('+  "mood": "awake"')
        assert '-  "mood": "tired"' in seen.text()
        revision = (await state.get(seen.system, "sleeper")).revision
        assert f"--if-revision {revision}" in seen.text()

        await state.set_part(seen.system, "sleeper", "mood", "busy")
        await seen.confirm()
        await seen.until("has revision")
        assert (await state.get(seen.system, "sleeper")).value == {"mood": "busy"}

        await seen.pick("edit its state")
        await seen.until("edit its state  ·  demo")
        seen.app.screen.query_one("#q-state").text = '{"mood": "awake"}'
        await seen.confirm()
        await seen.until(f"has revision {revision + 2}")
        assert (await state.get(seen.system, "sleeper")).value == {"mood": "awake"}


async def test_who_is_gone_stays_in_sight_for_a_while(dashboard, monkeypatch):
    """Grey for ten minutes, then not at all."""
    import dataclasses

    async with dashboard(first=3) as seen:
        await seen.until("outsider")
        board: Board = seen.app.board
        seen.app._run_feed = None
        seen.app.workers.cancel_group(seen.app, "feed")
        await seen.pilot.pause()
        left = [agent for agent in board.status.agents if agent.id != "outsider"]
        board.status = dataclasses.replace(board.status, agents=left)
        seen.app.mark_dirty()
        await seen.until("gone")
        gone = next(row for row in seen.app.pane.records if row["id"] == "outsider")
        assert gone["status"] == "gone"

        monkeypatch.setattr(agents_screen, "GONE_S", 0.0)
        seen.app.mark_dirty()
        await seen.until(lambda: "outsider" not in seen.text())
