"""The dashboard in the hands of an operator: it does what the role permits, as the commands do."""

from mas_core.ops import audit, operators
from mas_core.ops.standings import set_standing
from mas_core.ops.system import System
from mas_core.settings.target import resolve_target


async def test_s5_a_viewer_sees_and_changes_nothing_and_that_is_recorded(
    dashboard, running_project, tmp_path
):
    """What an action takes is asked of the role before it is done; contents are not shown."""
    file = tmp_path / "vera.operator"
    async with System(resolve_target(config=running_project, environ={})) as owner:
        await operators.add(owner, "vera", "viewer", file)
        try:
            async with dashboard(first=3, operator=file) as seen:
                await seen.until("sleeper")
                seen.app.pane.go_to("sleeper")
                await seen.until(lambda: "state" in seen.app.pane._told)
                assert "does not show states" in str(seen.app.pane._told["state"])
                await seen.pick("pause")
                await seen.until("vera may not")
                await seen.press("7")
                await seen.until("audit.list")

                async def denied() -> set[str]:
                    found = [item.record async for item in audit.records(owner)]
                    return {item.type for item in found if (item.actor, item.decision) == ("vera", "denied")}

                await seen.until(lambda: seen.app.board.status is not None)
                while "agent.pause" not in await denied():
                    await seen.pilot.pause(0.05)
            policy = await owner.policy.load()
            assert "sleeper" not in policy.standings
        finally:
            await set_standing(owner, ["sleeper"], "active")
            await operators.remove(owner, "vera")
