"""The dashboard on a running system, as one would use it."""

from mas_core.ops import messages, rbac


async def send(seen, count=1, target="calculator"):
    """Send messages; where the stream is seen, wait until they are."""
    ids = [
        (await messages.send(seen.system, target, "text.note", {"n": number})).message_id
        for number in range(count)
    ]
    live = seen.app.board.live
    await seen.until(lambda: ids[-1] in {event.id for _, event in live.events})
    await seen.pilot.pause(0.2)


def shown(seen):
    return [event for _, event in seen.app.pane._items]


async def test_the_overview_shows_facts_problems_and_pairs(dashboard):
    """Whoever opens it sees where he is, what runs, and what is wrong."""
    async with dashboard() as seen:
        await send(seen, 3)

        await seen.until("operator")
        text = seen.text()

    assert "mas ▸ demo" in text
    assert "gateways 1/1" in text
    assert "busiest pairs" in text


async def test_what_is_sent_comes_into_sight_and_holds_still_when_asked(dashboard):
    """Pausing keeps the picture and counts what comes; the end takes it up again."""
    async with dashboard() as seen:
        await seen.press("2")
        await send(seen, 2)

        await seen.press("p")
        held = len(shown(seen))
        await send(seen, 3)
        await seen.until("+3 new")
        assert len(shown(seen)) == held

        await seen.press("end")
        await seen.until(lambda: len(shown(seen)) >= held + 3)
        assert "held" not in seen.text()


async def test_scrolling_up_holds_the_picture(dashboard):
    """Nobody loses the line he reads."""
    async with dashboard() as seen:
        await seen.press("2")
        await send(seen, 4)

        await seen.press("up", "up")
        chosen = seen.app.pane.table.item
        await send(seen, 2)
        await seen.until("+2 new")

        assert seen.app.pane.table.item == chosen


async def test_a_filter_works_while_paused_and_is_remembered(dashboard):
    """k9s#517, #3106: filter what is there, and find the last filter again."""
    async with dashboard() as seen:
        await seen.press("2")
        await send(seen, 2)
        await send(seen, 1, "notebook")
        await seen.press("p", "slash", *"to:notebook", "enter")

        assert {event.target for event in shown(seen)} == {"notebook"}
        assert "to:notebook" in seen.text()

        await seen.press("escape")
        assert {event.target for event in shown(seen)} > {"notebook"}
        await seen.press("slash")
        assert seen.app.query_one("#filter").value == "to:notebook"


async def test_a_filter_that_cannot_be_understood_says_so(dashboard):
    """In the line below, with the names that there are."""
    async with dashboard() as seen:
        await seen.press("2", "slash", *"color:red")

        assert "no field" in seen.text()


async def test_a_hidden_row_can_be_reached_by_name(dashboard):
    """dolphie#86: `:agent silent` although the filter hides it."""
    async with dashboard() as seen:
        await seen.press("3")
        await seen.until("silent")
        await seen.press("slash", *"calc", "enter")
        assert "silent" not in seen.text()

        await seen.press("colon", *"agent silent", "enter")

        await seen.until(lambda: (seen.app.pane.table.item or {}).get("id") == "silent")


async def test_an_act_asks_first_and_shows_its_command(dashboard):
    """The dialog tells what, where, and the command; cancelling changes nothing, yes does it."""
    async with dashboard() as seen:
        await seen.press("3")
        await seen.until("sleeper")
        seen.app.pane.go_to("sleeper")

        await seen.pick("pause")
        assert "pause  ·  demo" in seen.text()
        assert "$ mas agent pause sleeper" in seen.text()
        await seen.press("enter")
        assert (await rbac.load(seen.system)).standings == {}

        await seen.pick("pause")
        await seen.press("shift+tab", *"tired")
        await seen.confirm()
        await seen.until("sleeper is paused")
        standing = (await rbac.load(seen.system)).standings["sleeper"]
        assert (standing.kind, standing.reason) == ("paused", "tired")
        await seen.until("--reason tired")

        await seen.pick("resume")
        await seen.confirm()
        await seen.until("sleeper works again")


async def test_what_destroys_stands_last_and_needs_a_yes(dashboard):
    """Nothing that destroys has a key, and the button that does nothing has the focus."""
    async with dashboard() as seen:
        await seen.press("3")
        await seen.until("sleeper")
        seen.app.pane.go_to("sleeper")
        await seen.press("a", "end", "enter")

        assert "evict  ·  demo" in seen.text()
        assert seen.app.focused.id == "no"


async def test_a_read_only_dashboard_changes_nothing(dashboard):
    """The menu says why."""
    async with dashboard(read_only=True) as seen:
        await seen.press("3")
        await seen.until("sleeper")
        await seen.press("a")
        assert "nothing can be changed: read-only" in seen.text()

        await seen.press("end", "enter")
        assert "evict  ·" not in seen.text()


async def test_it_works_in_a_small_terminal(dashboard):
    """80x24: every screen shows its table and its hints."""
    async with dashboard(size=(80, 24)) as seen:
        for number in range(1, len(seen.app.panes) + 1):
            await seen.press(str(number))
            assert "? keys" in seen.text().splitlines()[-1]
            assert all(len(line) <= 80 for line in seen.text().splitlines())


async def test_help_tells_the_keys_of_the_screen(dashboard):
    """With the fields that its filter knows."""
    async with dashboard() as seen:
        await seen.press("2", "question_mark")

        assert "Keys · Live" in seen.text()
        assert "next refused" in seen.text()
