"""Screens of the dashboard that look at more than the stream."""

import json

from mas_core.ops import messages, rbac


async def give_up(seen, count=2):
    """Send what its handler always fails at."""
    for number in range(count):
        await messages.send(seen.system, "calculator", "math.strict", {"n": number})


async def test_dead_letters_are_grouped_and_told_in_full(dashboard):
    """Groups first, then letters, then one with its attempts; a group is acted on as a whole."""
    async with dashboard() as seen:
        await give_up(seen)
        seen.app.go("Dead")
        failed = ("invalid_payload", "math.strict", "calculator", 2)
        await seen.until(lambda: failed in seen.app.pane._groups, 30)
        await seen.until("math.strict")
        seen.app.pane.table.choose(failed[:3])

        await seen.press("enter")
        await seen.until("attempts")
        assert 'code:"' in seen.text()

        await seen.press("escape", "shift+tab")
        await seen.pick("list what would be delivered again")
        await seen.until("2 would be delivered again")
        await seen.until("math.strict to calculator")
        assert failed in seen.app.pane._groups

        await seen.press("escape", "a", "end", "enter")
        assert "drop  ·  demo" in seen.text()
        assert "mas dlq drop" in seen.text()
        await seen.confirm()
        await seen.until(lambda: failed[:3] not in [group[:3] for group in seen.app.pane._groups], 30)


async def test_the_matrix_tells_who_may_send_to_whom(dashboard):
    """Signs and words; a field is explained by trying a message."""
    async with dashboard() as seen:
        seen.app.go("Rules")
        grid = seen.app.pane.query_one("#matrix")
        await seen.until(lambda: grid.chosen)
        sign = seen.app.pane._sign
        assert sign("operator", "calculator")[0] == "✓"
        assert sign("outsider", "notebook")[0] == "~"
        assert sign("outsider", "calculator")[0] == "·"

        while grid.chosen[0] != "operator":
            await seen.press("down")
        await seen.until("everything passes")
        await seen.press("enter")
        await seen.until("authenticate")
        assert "nothing is sent" not in seen.text()


async def test_changes_of_rules_are_collected_and_applied_at_once(dashboard):
    """Nothing is in force before; the matrix shows what would be; one change of the policy, with one reason."""
    async with dashboard() as seen:
        kept = (await rbac.add_rules(seen.system, "deny", "sleeper", ["calculator"]))[0]
        seen.app.go("Rules")
        grid = seen.app.pane.query_one("#matrix")
        await seen.until(lambda: grid.chosen)
        while grid.chosen[0] != "sleeper":
            await seen.press("down")
        while grid.chosen[1] != "silent":
            await seen.press("right")

        await seen.press("a", "enter")
        await seen.until("allow  ·  demo")
        assert "$ mas rbac allow sleeper silent" in seen.text()
        await seen.confirm()
        await seen.until("1 pending, not in force: + allow sleeper to silent *")
        await seen.until(lambda: seen.app.pane._sign("sleeper", "silent") == ("✓", "warn"))
        before = await rbac.load(seen.system)
        assert not (await rbac.check(seen.system, "sleeper", "silent")).allowed

        await seen.until(lambda: any(row["id"] == kept.id for row in seen.app.pane.records))
        seen.app.pane.set_filter("from:sleeper")
        await seen.until(lambda: seen.app.pane.table and seen.app.pane.table.item)
        seen.app.pane.table.choose(kept.id)
        await seen.pick("revoke")
        await seen.until("2 pending")

        await seen.pick("apply the 2")
        assert f"mas rbac revoke {kept.id}" in seen.text()
        seen.app.screen.query_one("#q-reason").value = "they work together"
        await seen.confirm()
        await seen.until("2 changes are in force")

        after = await rbac.load(seen.system)
        assert after.revision == before.revision + 1
        assert (await rbac.check(seen.system, "sleeper", "silent")).allowed
        assert kept.id not in {rule.id for rule in after.rules}
        (added,) = [rule for rule in after.rules if rule.sender == "sleeper"]
        assert added.reason == "they work together"
        await seen.until(lambda: "pending" not in seen.text())
        await rbac.revoke(seen.system, [added.id])


async def test_the_audit_is_filtered_verified_and_taken_along(dashboard, tmp_path):
    """The badge says how far it is signed; an export has all rows and a manifest."""
    async with dashboard() as seen:
        await messages.send(seen.system, "calculator", "text.note", {"n": 1})
        seen.app.go("Audit")
        await seen.until("signed to #", 20)
        await seen.press("slash", *"type:text.note", "enter")
        await seen.until(
            lambda: seen.app.pane.records and all(row["type"] == "text.note" for row in seen.app.pane.records)
        )

        await seen.press("a", "enter")
        await seen.until("verified to #", 20)

        await seen.press("a", "down", "enter")
        await seen.until("export all of it  ·  demo")
        file = seen.app.screen.query_one("#q-file")
        file.value = str(tmp_path / "all.jsonl")
        await seen.confirm()
        await seen.until((tmp_path / "all.jsonl.manifest.json").exists)

    rows = (tmp_path / "all.jsonl").read_text().splitlines()
    assert len(rows) > 1
    assert json.loads(rows[0])["seq"] == 1


async def test_who_looks_at_the_audit_is_in_the_audit(dashboard):
    """Once for each question, however often the screen looks again."""
    async with dashboard() as seen:
        seen.app.go("Audit")
        await seen.until(lambda: seen.app.pane.records)
        before = sum(row["kind"] == "audit.query" for row in seen.app.pane.records)
        await seen.press("slash", *"kind:audit.query", "enter")
        await seen.until(
            lambda: sum(row["kind"] == "audit.query" for row in seen.app.pane.records) > max(0, before), 20
        )
