"""Which answer an asker gets: that of the run that counts, and always one."""

import asyncio

import pytest
from pydantic import BaseModel

from mas_core import Agent, MasError


class Count(BaseModel):
    """A counter."""

    number: int = 0


class Counter(Agent[Count]):
    """Counts, resets nothing, and has a handler that returns nothing."""

    @Agent.on("count")
    async def count(self, message):
        """Count one more and say which."""
        await self.update_state({"number": self.state.number + 1})
        return {"number": self.state.number}

    @Agent.on("nothing")
    async def nothing(self, message):
        """Do nothing and say nothing."""

    @Agent.on("own")
    async def own(self, message):
        """Answer by itself, and return something else."""
        await message.reply("own.answer", {"from": "handler"})
        return {"from": "return"}


async def test_the_answer_is_that_of_the_run_whose_state_counts():
    """Somebody else changes the state between two requests: the discarded run's answer never gets out."""
    url = "memory://answers-counts"
    async with Counter("counter", redis_url=url) as counter, Agent("asker", redis_url=url) as asker:
        await asker.request("counter", "count")
        await counter._store.agent("counter").set_state(None, b'{"number":40}')

        answers = await asyncio.gather(*(asker.request("counter", "count") for _ in range(5)))

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


async def test_a_state_that_does_not_fit_any_more_is_told():
    """The asker gets an error instead of an answer that was never committed."""
    url = "memory://answers-unfit"
    async with Counter("counter", redis_url=url) as counter, Agent("asker", redis_url=url) as asker:
        await counter._store.agent("counter").set_state(None, b'{"number":"many"}')

        with pytest.raises(MasError, match="does not fit"):
            await asker.request("counter", "count", timeout=5)
