"""The screen of one message's story."""

from mas_core.ops import messages


async def test_a_message_is_followed_from_the_stream_to_its_reply(dashboard):
    """Enter on an event leads to decision, stages, reply, and where the time went."""
    async with dashboard() as seen:
        await messages.request(seen.system, "calculator", "math.add", {"numbers": [1, 2]})
        await seen.press("2")
        await seen.until(lambda: any(item[1].type == "math.add" for item in seen.app.pane._items))
        await seen.press("slash", *"type:math.add", "enter", "enter")

        await seen.until("answered", 20)
        text = seen.text()
        assert "operator → calculator" in text
        assert "reply  calculator → operator" in text
        assert "waits for the gateway" in text

        await seen.press("v")
        await seen.until('"status": "answered"')


async def test_what_is_not_known_is_said(dashboard):
    """A wrong id is no crash and no empty screen."""
    async with dashboard() as seen:
        await seen.press("colon", *"trace no-such-id", "enter")

        await seen.until("no record of no-such-id", 20)
