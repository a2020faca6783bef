"""The screen of queues."""

from mas_core.ops import messages


async def test_a_queue_and_who_is_stuck_on_what(dashboard):
    """The longest first; beside it what is in hand with its consumer, then what waits; a payload on demand."""
    async with dashboard() as seen:
        # silent keeps every request in hand for as long as the system runs
        await messages.send(seen.system, "silent", "wait", {"secret": "tulip"})
        await messages.send(seen.system, "sleeper", "text.note", {"n": 1})
        seen.app.go("Queues", "silent")
        await seen.until(lambda: any(row["agent"] == "silent" for row in seen.app.pane.records), 30)
        seen.app.pane.go_to("silent")

        await seen.until(lambda: seen.app.pane._messages and seen.app.pane._agent == "silent", 30)
        await seen.until("in hand first")
        row = next(row for row in seen.app.pane.records if row["agent"] == "silent")
        assert row["in_hand"] >= 1
        assert row["consumers"] == 1
        assert "tulip" not in seen.text()

        await seen.press("enter", "a", "enter")
        await seen.until("tulip")
        assert "$ mas bus inspect silent --payload" in seen.text()

        seen.app.pane.query_one("#queues").focus()
        await seen.pilot.pause()
        seen.app.pane.go_to("sleeper")
        await seen.until(lambda: seen.app.pane._agent == "sleeper", 30)
        await seen.until("waits")
        await seen.press("slash", *"waiting>0", "enter")
        assert 1 <= seen.app.pane.shown_count < len(seen.app.pane.records)

        await seen.press("escape")
        seen.app.pane.go_to("sleeper")
        await seen.pick("send again what it was sent")
        await seen.until("$ mas bus replay --agent sleeper --since 10m")
        await seen.confirm()
        await seen.until("no message to sleeper since")

        seen.app.pane.go_to("sleeper")
        await seen.press("a", "end", "enter")
        await seen.until("$ mas bus trim sleeper --keep")
        seen.app.screen.query_one("#q-keep").value = "0"
        await seen.confirm()
        await seen.until("are dead letters now", 30)
        await seen.until(lambda: not seen.app.pane._messages, 30)
