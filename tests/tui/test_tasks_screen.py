"""The screen of tasks, votes and leaders."""

from mas_core.model.vote import Motion
from mas_core.ops import consensus, rbac, tasks


async def test_tasks_are_assigned_and_cancelled_and_votes_cast(dashboard):
    """What commands do, from the menu; a vote shows how far it is from what it needs."""
    async with dashboard(first=8) as seen:
        rules = [
            (await rbac.add_rules(seen.system, "allow", "operator", ["task:default"], action="assign"))[0].id,
            (await rbac.add_rules(seen.system, "allow", "operator", ["vote:*"]))[0].id,
        ]
        await seen.until("no task is open")
        await seen.press("a", "enter")
        await seen.until("assign a task  ·  demo")
        seen.app.screen.query_one("#q-type").value = "paint.fence"
        seen.app.screen.query_one("#q-payload").value = '{"colour": "green"}'
        await seen.pilot.pause()
        assert "mas task assign paint.fence" in seen.text()
        await seen.confirm()
        await seen.until("1 waiting")
        (task,) = await tasks.list_tasks(seen.system)
        assert (task.type, task.parameters) == ("paint.fence", {"colour": "green"})

        await seen.until(lambda: seen.app.pane.table.item)
        await seen.pick("cancel")
        await seen.until(f"mas task cancel {task.id}")
        await seen.confirm()
        await seen.until("1 cancelled")
        await seen.press("g")
        assert "paint.fence" in seen.text()

        async with consensus.consensus(seen.system) as votes:
            motion = Motion(title="paint it green", participants=["operator", "calculator"])
            opened = (await votes.propose_motion(motion, is_asking=False)).proposal.id
        await seen.until("paint it green", 20)
        assert "0/" in seen.text()
        seen.app.pane.query_one("#votes").focus()
        await seen.pilot.pause()
        await seen.pick("vote")
        await seen.until("vote  ·  demo")
        seen.app.screen.query_one("#q-choice").value = "yes"
        await seen.confirm()
        await seen.until("1 of 2", 20)
        assert (await consensus.trail(seen.system, opened)).rounds[-1].ballots[0].voter == "operator"
        await rbac.revoke(seen.system, rules)
