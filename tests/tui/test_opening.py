"""The first frame waits for nothing: the system is opened behind it."""

import asyncio
import subprocess
import sys

from support import tui_boards

from mas_cli.tui.app import Dashboard
from mas_core.errors import StoreUnreachable


async def test_the_frame_stands_while_the_system_is_opened():
    """Tabs and panes are there before the system answers; one that does not open ends it with the reason."""
    answer = asyncio.get_running_loop().create_future()

    async def opening():
        return await answer

    app = Dashboard(tui_boards.board("sample"), None, opening=opening)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        lines = app.screen._compositor.render_strips()
        assert "Overview" in "".join(segment.text for line in lines for segment in line)
        assert app.system is None
        answer.set_exception(StoreUnreachable("nobody is there"))
        await pilot.pause()
        assert app.opening_error is not None
        assert not app.is_running or app._exit


def test_nothing_slow_is_imported_for_the_first_frame():
    """Neither a client of the server nor the gateway's parts are needed to draw."""
    program = (
        "import sys, mas_cli.commands.tui, mas_cli.tui.app, mas_cli.tui.board\n"
        "slow = ('redis', 'fakeredis', 'cryptography', 'mas_core.ops.system', 'mas_core.store.store', 'plotext')\n"
        "print([name for name in slow if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
