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

        await seen.press("escape", "shift+tab", "a", "end", "enter")
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


async def test_a_rule_is_added_from_a_field_of_the_matrix(dashboard):
    """The dialog knows both ends, and the rule is in force."""
    async with dashboard() as seen:
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
        await seen.until("in force")

        assert (await rbac.check(seen.system, "sleeper", "silent")).allowed
        await seen.until(lambda: seen.app.pane._sign("sleeper", "silent")[0] == "✓")
        rules = (await rbac.load(seen.system)).rules
        await rbac.revoke(seen.system, [rule.id for rule in rules if rule.sender == "sleeper"])


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
