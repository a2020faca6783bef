"""The stream: its past, its time bar, and what can be done to a decision."""

import json
from pathlib import Path

from mas_cli.tui import feed
from mas_cli.tui.widgets.time_bar import TimeBar
from mas_core.ops import dead_letters, messages


async def send(seen, count, message_type="text.note"):
    receipts = [
        await messages.send(seen.system, "calculator", message_type, {"n": number}) for number in range(count)
    ]
    ids = [receipt.message_id for receipt in receipts]
    await seen.until(lambda: ids[-1] in {event.id for _, event in seen.app.board.live.events})
    return ids


def ids_shown(seen):
    return [event.id for _, event in seen.app.pane._items]


async def letters_of(seen, message_id):
    found = await dead_letters.list_letters(seen.system)
    return [letter.id for letter in found.letters if letter.facts.message_id == message_id]


async def test_the_past_is_read_from_the_server(dashboard, monkeypatch):
    """flower#415: a dashboard that was just started goes back to what was before it."""
    monkeypatch.setattr(feed, "HISTORY", 2)
    async with dashboard() as seen:
        old = await send(seen, 5)
    async with dashboard(first=2) as seen:
        await seen.until(lambda: len(ids_shown(seen)) >= 2)
        assert old[0] not in ids_shown(seen)

        await seen.press("home", "up")
        await seen.until(lambda: old[0] in ids_shown(seen))
        assert "the past" in seen.text()
        assert seen.app.pane.table.item[1].id in old

        new = await send(seen, 1)
        await seen.until("+1 new")
        assert new[0] not in ids_shown(seen)

        await seen.pilot.click(TimeBar, offset=(11, 0))
        first = seen.app.pane._items[0]
        await seen.until(lambda: seen.app.pane.table.item[1].time - first[1].time < 10_000)
        await seen.press("left_square_bracket", "left_curly_bracket")
        assert seen.app.pane.table.item[1] == first[1]

        await seen.press("end")
        await seen.until(lambda: ids_shown(seen)[-1] == new[0])
        assert "the past" not in seen.text()


async def test_time_moves_in_what_is_kept(dashboard):
    """`}` goes to what came an hour later, and beyond the newest the stream goes on."""
    async with dashboard(first=2) as seen:
        await send(seen, 3)
        await seen.until(lambda: len(ids_shown(seen)) >= 3)
        await seen.press("home")
        assert seen.app.pane.is_paused

        await seen.press("right_curly_bracket")

        await seen.until(lambda: not seen.app.pane.is_paused)


async def test_what_scrolled_sideways_stays_there(dashboard):
    """k9s#3668: new rows and a filter leave the columns where they were."""
    async with dashboard(first=2, size=(80, 24)) as seen:
        await send(seen, 2)
        await seen.press("w", "right", "right")
        before = seen.app.pane.table._left
        assert before

        await send(seen, 2)
        await seen.press("slash", *"text", "enter")

        assert seen.app.pane.table._left == before


async def test_a_decision_is_explained_kept_and_sent_again(dashboard, tmp_path):
    """The rule in words; the marked rows as JSON Lines; the payload of a dead letter, edited."""
    async with dashboard(first=2) as seen:
        (sent,) = await send(seen, 1, "math.strict")
        seen.app.pane.set_filter(f"id:{sent} decision:allowed")
        await seen.until(lambda: ids_shown(seen) == [sent])

        await seen.pick("explain")
        await seen.until("by the rules of now, operator to calculator")
        assert "yes: " in seen.text()
        await seen.press("escape")

        await seen.pick("save as JSONL")
        file = tmp_path / "kept.jsonl"
        seen.app.screen.query_one("#q-file").value = str(file)
        await seen.confirm()
        await seen.until(file.exists)
        assert json.loads(Path(file).read_text())["id"] == sent
        assert file.stat().st_mode & 0o077 == 0

        while not (letters := await letters_of(seen, sent)):
            await seen.pilot.pause(0.1)
        await seen.pick("send again")
        await seen.until("send again  ·  demo")
        payload = seen.app.screen.query_one("#q-payload")
        assert json.loads(payload.value) == {"n": 0}
        payload.value = '{"numbers": [2, 3]}'
        await seen.pilot.pause()
        assert "$ mas send calculator math.strict '{\"numbers\": [2, 3]}'" in seen.text()
        await seen.confirm()
        seen.app.pane.set_filter("type:math.strict decision:allowed")
        await seen.until(lambda: len(ids_shown(seen)) >= 2)
        await dead_letters.drop(seen.system, letters)
