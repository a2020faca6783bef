"""The power cut is one: what the server had not flushed is gone."""

import pytest

from tests.faults.outcome import Options, Outcome
from tests.faults.power_cut import NO_COMPILER, PowerCut, compiler
from tests.faults.world import Plan, World

pytestmark = [pytest.mark.slow, pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)]


async def test_a_server_that_flushes_nothing_loses_what_was_acknowledged(tmp_path):
    """So zeros of the profile durable come from its flushing, not from a cut that takes nothing away."""
    power = PowerCut(tmp_path / "power", tmp_path / "server" / "data")
    plan = Plan(server_environ=power.environ, failing=0)
    outcome = Outcome("r5", "power cut without flushing")
    async with World(Options(1, 1, tmp_path), plan) as world:
        await world.system.store.connection.call("CONFIG", "SET", "appendfsync", "no")
        for group in world.receivers:
            await world.kill_agents(group)
        before = world.acknowledged()
        await world.until(lambda: world.acknowledged() > before + 2_000, "messages that wait in inboxes")
        await world.server.kill()
        assert power.cut() > 0
        await world.server.start()
        for group in world.receivers:
            await world.start_agents(group)
        await world.until_working()
        await world.finish(outcome)

    assert outcome.lost > 0
    assert outcome.acknowledged > outcome.lost


def test_a_rename_in_a_folder_that_was_not_flushed_is_undone(tmp_path):
    """The old file is there again, with what was in it."""
    data = tmp_path / "data"
    data.mkdir()
    power = PowerCut(tmp_path / "power", data)
    power._log.write_text(f"S 3 {data}/draft\nR 1 {data}/draft\t{data}/kept\n")
    (data / "kept").write_text("new")
    (tmp_path / "power" / "flushed.log.1").write_text("old")

    power.cut()
    assert ((data / "kept").read_text(), (data / "draft").read_text()) == ("old", "new")


def test_a_rename_in_a_folder_that_was_flushed_stays(tmp_path):
    """And the flushed size goes with the name."""
    data = tmp_path / "data"
    data.mkdir()
    power = PowerCut(tmp_path / "power", data)
    power._log.write_text(f"S 3 {data}/draft\nR 1 {data}/draft\t{data}/kept\nD {data}\n")
    (data / "kept").write_text("new and not flushed")

    power.cut()
    assert (data / "kept").read_text() == "new"
