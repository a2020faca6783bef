"""Which answer an asker gets: that of the run that counts, and always one."""

import asyncio

import pytest
from pydantic import BaseModel
from support.waiting import until

from mas_core import Agent, MasError
from mas_core.errors import AgentFailed


class Count(BaseModel):
    """A counter."""

    number: int = 0


class Counter(Agent[Count]):
    """Counts, resets nothing, and has a handler that returns nothing."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.kept = None
        self.is_answered = asyncio.Event()

    @Agent.on("count")
    async def count(self, message):
        """Count one more and say which."""
        await self.update_state({"number": self.state.number + 1})
        return {"number": self.state.number}

    @Agent.on("count.own")
    async def count_own(self, message):
        """Count one more, answer by itself which, and fail after it where that is wanted."""
        before = await message.reply("count.part", {"number": self.state.number}, final=False)
        await self.update_state({"number": self.state.number + 1})
        part = await message.reply("count.part", {"number": self.state.number}, final=False)
        whole = await message.reply("count.answer", {"number": self.state.number})
        self.receipts = (before, part, whole)
        if message.data.get("fails"):
            raise RuntimeError("no")

    @Agent.on("later")
    async def later(self, message):
        """Keep the request for somebody else to answer."""
        self.kept = message
        await self.is_answered.wait()

    @Agent.on("now")
    async def now(self, message):
        """Answer the request that was kept, and this one."""
        await self.kept.reply("later.answer", {"for": "later"})
        self.is_answered.set()
        return {"for": "now"}

    @Agent.on("nothing")
    async def nothing(self, message):
        """Do nothing and say nothing."""

    @Agent.on("own")
    async def own(self, message):
        """Answer by itself, and return something else."""
        await message.reply("own.answer", {"from": "handler"})
        return {"from": "return"}


@pytest.mark.parametrize("message_type", ["count", "count.own"])
async def test_the_answer_is_that_of_the_run_whose_state_counts(message_type):
    """Somebody else changes the state between two requests: the discarded run's answer never gets out."""
    url = f"memory://answers-{message_type}"
    async with Counter("counter", redis_url=url) as counter, Agent("asker", redis_url=url) as asker:
        await asker.request("counter", message_type)
        await counter._store.agent("counter").set_state(None, b'{"number":40}')

        answers = await asyncio.gather(*(asker.request("counter", message_type) for _ in range(5)))

        assert sorted(answer.data["number"] for answer in answers) == [41, 42, 43, 44, 45]


async def test_a_handler_that_returns_nothing_answers_with_nothing():
    """The asker does not wait for an answer that will never come."""
    url = "memory://answers-nothing"
    async with Counter("counter", redis_url=url), Agent("asker", redis_url=url) as asker:
        assert (await asker.request("counter", "nothing", timeout=5)).data == {}


async def test_a_handler_that_has_answered_answers_once():
    """What it returns as well is not sent."""
    url = "memory://answers-own"
    async with Counter("counter", redis_url=url), Agent("asker", redis_url=url) as asker:
        assert (await asker.request("counter", "own", timeout=5)).data == {"from": "handler"}


async def test_a_final_reply_goes_out_with_the_state_that_it_tells_of():
    """Parts go at once; where the handler fails after all, the asker is told that, and the state is as before."""
    url = "memory://answers-held"
    async with Counter("counter", redis_url=url) as counter, Agent("asker", redis_url=url) as asker:
        with pytest.raises(AgentFailed):
            await asker.request("counter", "count.own", {"fails": True}, timeout=5)
        reply = await asker.request("counter", "count.own", timeout=5)

        assert reply.data == {"number": 1}
        before, part, whole = counter.receipts
        assert before.is_delivered
        assert part.is_delivered
        assert whole is None


async def test_who_answers_something_else_answers_what_it_handles_too():
    """A handler that answers an earlier request, which it kept, still owes an answer to its own."""
    url = "memory://answers-earlier"
    async with Counter("counter", redis_url=url) as counter, Agent("asker", redis_url=url) as asker:
        earlier = asyncio.create_task(asker.request("counter", "later", timeout=5))
        await until(lambda: counter.kept)
        own = await asker.request("counter", "now", timeout=5)

        assert ((await earlier).data, own.data) == ({"for": "later"}, {"for": "now"})


async def test_a_state_that_does_not_fit_any_more_is_told():
    """The asker gets an error instead of an answer that was never committed."""
    url = "memory://answers-unfit"
    async with Counter("counter", redis_url=url) as counter, Agent("asker", redis_url=url) as asker:
        await counter._store.agent("counter").set_state(None, b'{"number":"many"}')

        with pytest.raises(MasError, match="does not fit"):
            await asker.request("counter", "count", timeout=5)
