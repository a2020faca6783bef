"""The screen of tasks, votes and leaders."""

from mas_core import Leadership
from mas_core.model.vote import Motion
from mas_core.ops import consensus, rbac, tasks
from mas_core.ops.messages import connected


async def test_tasks_votes_and_leaders_are_acted_on(dashboard):
    """What commands do, from the menu: assign, cancel, vote, step down; a vote shows how far it is."""
    async with dashboard(first=8) as seen:
        rules = [
            (await rbac.add_rules(seen.system, "allow", "operator", ["task:default"], action="assign"))[0].id,
            (await rbac.add_rules(seen.system, "allow", "operator", ["vote:*"]))[0].id,
            (await rbac.add_rules(seen.system, "allow", "operator", ["leader:books"]))[0].id,
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
        await seen.until("nobody yet")
        heads = [row for row in seen.app.pane.table.rows.items if "board" in row]
        assert [(head["board"], head["counts"]) for head in heads] == [("nobody yet", ["1 cancelled"])]
        seen.app.pane.table.choose(("board", "nobody yet"))
        assert [action.id for action in seen.app.pane.actions()] == ["task.assign"]

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

        async with connected(seen.system, "operator") as client:
            leading = Leadership(client, "books", lease=60)
            await leading.campaign()
            await seen.until("books", 20)
            (row,) = seen.app.pane._leaders
            assert (row["leader"], row["term"], row["lease"]) == ("operator", 1, 60)
            assert "LEASE" in seen.text()
            seen.app.pane.query_one("#leaders").focus()
            await seen.pilot.pause()
            await seen.pick("step down")
            await seen.until("mas leader resign books")
            await seen.confirm()
            await seen.until(lambda: not any(row["leader"] for row in seen.app.pane._leaders), 20)
            await leading.resign()
        await rbac.revoke(seen.system, rules)
