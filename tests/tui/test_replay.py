"""A recording in the screens of the dashboard."""

import json

import pytest
from support import tui_boards
from support.filled import filled

from mas_cli.tui.app import Dashboard
from mas_cli.tui.board import Board
from mas_cli.tui.replay import Replay
from mas_cli.tui.screens import PANES
from mas_core.ops.recordings import Entry
from mas_core.ops.status import SystemStatus
from mas_core.ops.watch import LiveEvent
from mas_core.settings.target import Target

START = tui_boards.NOW * 1000


def replay(count=10, text="billing", pause_ms=1000):
    """A dashboard of a recording: the state of the whole, then events."""
    status = filled(SystemStatus, text, profile="durable", now=START)
    entries = [Entry(START, status=status)] + [
        Entry(
            START + number * pause_ms,
            filled(LiveEvent, text, time=START + number * pause_ms, id=f"m{number}"),
        )
        for number in range(1, count + 1)
    ]
    board = Board(Target(url="", name="incident"), read_only=True)
    board.replay = Replay(board, None, entries)
    return Dashboard(board, None, feed=board.replay), board


def text_of(app):
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line) for line in strips)


async def test_a_recording_is_stepped_held_and_played_faster():
    """`[` and `]` by lines, `{` and `}` by minutes, p holds and goes on, x changes the speed."""
    app, board = replay()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2", "p", "right_square_bracket", "right_square_bracket")
        await pilot.pause(0.2)
        at = board.replay.at
        assert not board.replay.is_playing
        assert f"{at} of 11" in text_of(app)
        assert board.live.seen == at - 1

        await pilot.press("left_square_bracket")
        await pilot.pause(0.2)
        assert board.replay.at == at - 1
        assert [event.id for _, event in app.pane._items] == [f"m{n}" for n in range(1, at - 1)]

        await pilot.press("right_curly_bracket")
        await pilot.pause(0.2)
        assert "end" in text_of(app)
        assert board.live.seen == 10
        await pilot.press("left_curly_bracket", "x", "x", "p")
        assert (board.replay.speed, board.replay.is_playing) == (10.0, True)
        while board.replay.at < 11:
            await pilot.pause(0.1)


async def test_a_replay_changes_nothing_and_says_why():
    """The menu is there, and locked; screens that need a system say that a recording does not hold it."""
    app, _ = replay()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await pilot.pause(0.2)
        await pilot.press("a")
        assert "nothing can be changed: this is a replay" in text_of(app)
        await pilot.press("escape")
        app.go("Dead")
        await pilot.pause(0.2)
        assert "a recording does not hold this" in text_of(app)


async def test_an_empty_or_odd_recording_does_no_harm():
    """No line at all, and years between two of them."""
    app, _ = replay(0)
    async with app.run_test() as pilot:
        for key in ("p", "right_square_bracket", "left_square_bracket", "left_curly_bracket", "p", "2"):
            await pilot.press(key)
    app, board = replay(2, pause_ms=10**12)
    async with app.run_test() as pilot:
        for key in ("right_curly_bracket", "right_square_bracket", "right_square_bracket", "2"):
            await pilot.press(key)
        assert board.live.seen == 2
    board = Board(Target(url="", name="none"), read_only=True)
    board.replay = Replay(board, None, [])
    async with Dashboard(board, None, feed=board.replay).run_test() as pilot:
        for key in ("p", "right_square_bracket", "left_curly_bracket", "x"):
            await pilot.press(key)


def test_the_keys_of_a_project_are_listed_and_used(mas_project_keys):
    """`tui.keys` in mas.yaml; a key with two meanings, or of nothing, is refused."""
    rows, code, _ = mas_project_keys("{row.actions: f2}")
    assert code == 0
    assert {row["id"]: row["key"] for row in rows}["row.actions"] == "f2"
    assert mas_project_keys("{row.actions: q}")[1] == 2
    assert mas_project_keys("{row.destroy: f2}")[1] == 2
    assert mas_project_keys("[1]")[1] == 2


@pytest.fixture
def mas_project_keys(tmp_path, capfd, monkeypatch):
    """`mas tui keys` in a project with these keys."""
    from mas_cli import app

    monkeypatch.chdir(tmp_path)

    def run(keys):
        (tmp_path / "mas.yaml").write_text(f"name: demo\ntui: {{keys: {keys}}}\n")
        code = app.main(["tui", "keys", "-o", "json"])
        out, err = capfd.readouterr()
        return (json.loads(out) if out else None), code, err

    return run


async def test_other_keys_do_what_the_usual_ones_did():
    """And the hints show them."""
    app, _ = replay()
    app = Dashboard(app.board, None, feed=app.board.replay, keys={"row.actions": "f2"})
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await pilot.pause(0.2)
        assert "f2 actions" in text_of(app)
        await pilot.press("f2")
        assert "nothing can be changed" in text_of(app)


@pytest.mark.parametrize("number", range(1, len(PANES) + 1))
async def test_every_screen_can_be_the_first(number):
    """`mas tui --screen NAME`: it is seen, and not only named."""
    app, board = replay()
    app = Dashboard(board, None, feed=board.replay, first=number)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert [pane for pane in app.panes if pane.display] == [app.pane]
        assert app.pane.region.height > 5
