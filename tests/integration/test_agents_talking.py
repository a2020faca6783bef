"""Agents talk: handlers, replies, requests, discovery, priorities."""

import asyncio

import pytest
from pydantic import BaseModel
from support.systems import Recorder, live_system
from support.waiting import until

from mas_core.agent import Agent
from mas_core.errors import (
    AgentFailed,
    AgentNotFound,
    Forbidden,
    InvalidIdentifier,
    InvalidPayload,
    NoResponder,
    NotStarted,
    RequestTimedOut,
    UsageError,
)
from mas_core.model.decision import Decision


class Numbers(BaseModel):
    numbers: list[float]


class Calculator(Agent):
    capabilities = ("math",)

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.calls = []
        self.gate = asyncio.Event()

    async def on_start(self):
        self.calls.append("on_start")

    async def on_stop(self):
        self.calls.append("on_stop")

    @Agent.on("math.add", model=Numbers)
    async def add(self, message, payload):
        self.calls.append(type(payload).__name__)
        return {"result": sum(payload.numbers)}

    @Agent.on("math.raw")
    async def raw(self, message, payload):
        self.calls.append(payload)
        return Numbers(numbers=[1.0])

    @Agent.on("math.parts")
    async def parts(self, message):
        await message.reply("math.part", {"part": 1}, final=False)
        await message.reply("math.part", {"part": 2}, final=False)
        await message.reply("math.whole", {"whole": 3})

    @Agent.on("math.silent")
    async def silent(self, message):
        self.calls.append("silent")
        await self.gate.wait()
        await asyncio.sleep(1)

    @Agent.on("math.broken")
    async def broken(self, message):
        raise ZeroDivisionError("secret 4111111111111111")

    @Agent.on("math.refused")
    async def refused(self, message):
        raise InvalidPayload("numbers must not be odd")

    async def on_message(self, message):
        self.calls.append(message.message_type)
        return {"unknown": message.message_type}


@pytest.fixture
async def system(every_url):
    """alice may talk to the calculator."""
    async with live_system(every_url, agents=["alice", "calc"], allow=[("alice", "calc")]) as opened:
        yield opened


@pytest.fixture
async def calc(system):
    return await system.run("calc", Calculator)


@pytest.fixture
async def alice(system, calc):
    return await system.run("alice")


async def test_a_typed_handler_gets_its_model_and_its_result_is_the_reply(alice, calc):
    """A request comes back with what the handler returned."""
    reply = await alice.request("calc", "math.add", {"numbers": [1, 2, 3.5]})

    assert reply.data == {"result": 6.5}
    assert (reply.sender_id, reply.message_type, reply.is_reply) == ("calc", "math.add.reply", True)
    assert calc.calls == ["on_start", "Numbers"]


async def test_a_handler_without_a_model_gets_the_plain_dict(alice, calc):
    """And a model can be returned."""
    reply = await alice.request("calc", "math.raw", {"x": [1, {"y": None}]})

    assert calc.calls[-1] == {"x": [1, {"y": None}]}
    assert reply.payload == {"numbers": [1.0]}


async def test_types_without_a_handler_go_to_on_message(alice, calc):
    """Its result is a reply as well."""
    reply = await alice.request("calc", "math.unheard.of", {})

    assert reply.data == {"unknown": "math.unheard.of"}


async def test_an_agent_without_on_message_refuses_unknown_types(system):
    """The asker learns which types it takes; nothing is retried."""

    class Narrow(Agent):
        @Agent.on("only.this")
        async def only(self, message):
            return {}

    await system.run("calc", Narrow)
    alice = await system.run("alice")

    with pytest.raises(AgentFailed, match=r"calc has no handler for other\.type"):
        await alice.request("calc", "other.type", {})
    await alice.send("calc", "other.type", {})
    await until(lambda: system.audit(kind="delivery.dead"))
    assert await system.audit(kind="delivery.retry") == []


async def test_a_payload_that_does_not_fit_never_reaches_the_handler(system, alice, calc):
    """The asker is told where; a message that nobody waits for becomes a dead letter at once."""
    with pytest.raises(InvalidPayload, match=r"does not fit math\.add: numbers\.0"):
        await alice.request("calc", "math.add", {"numbers": ["x"]})
    await alice.send("calc", "math.add", {"numbers": ["x"]})
    (dead,) = await until(lambda: system.audit(kind="delivery.dead"))

    assert "Numbers" not in calc.calls
    assert dead.reason.startswith("invalid_payload: the payload does not fit math.add")


async def test_partial_replies_do_not_end_a_request(alice):
    """Only the final one does."""
    reply = await alice.request("calc", "math.parts", {})

    assert (reply.message_type, reply.data, reply.meta.is_final) == ("math.whole", {"whole": 3}, True)


async def test_a_failing_handler_answers_with_its_kind_and_not_its_text(alice):
    """Texts of unexpected exceptions may hold data."""
    with pytest.raises(AgentFailed, match="the handler failed with ZeroDivisionError") as caught:
        await alice.request("calc", "math.broken", {})

    assert "4111" not in repr(caught.value.details) + str(caught.value)


async def test_a_handler_can_refuse_in_its_own_words(alice):
    """An error of the library travels with its text."""
    with pytest.raises(InvalidPayload, match="numbers must not be odd"):
        await alice.request("calc", "math.refused", {})


async def test_a_request_without_an_answer_times_out(alice, calc):
    """It is also a TimeoutError, so plain Python code catches it (M4)."""
    with pytest.raises(TimeoutError) as caught:
        await alice.request("calc", "math.silent", {}, timeout=0.3)

    assert isinstance(caught.value, RequestTimedOut)
    assert caught.value.details == {"target": "calc", "seconds": 0.3}
    assert calc.calls[-1] == "silent"
    calc.gate.set()


async def test_requests_run_side_by_side_and_each_gets_its_own_reply(alice):
    """Correlation is automatic."""
    replies = await asyncio.gather(
        *(alice.request("calc", "math.add", {"numbers": [number, 1]}) for number in range(100))
    )

    assert [reply.data["result"] for reply in replies] == [number + 1 for number in range(100)]


async def test_a_refused_pair_gets_forbidden_which_is_a_runtime_error(system, alice):
    """The receipt's words, the hint that would permit it, and the audit say the same (M4, P9)."""
    await system.register("bob")

    with pytest.raises(RuntimeError) as caught:
        await alice.send("bob", "note.take", {})

    assert isinstance(caught.value, Forbidden)
    assert str(caught.value) == "alice may not send note.take to bob"
    assert "mas rbac allow alice bob" in " ".join(caught.value.hint)
    assert str(caught.value.details["because"]).startswith("Authorization denied")
    (record,) = await system.audit(decision="denied")
    assert (record.sender, record.target, record.type) == ("alice", "bob", "note.take")
    assert record.reason.startswith("Authorization denied")


async def test_an_unknown_agent_is_not_found(system, alice):
    """Whether sent or asked."""
    with pytest.raises(AgentNotFound, match="Agent not found: nobody"):
        await alice.send("nobody", "x", {})
    with pytest.raises(AgentNotFound, match="Agent not found: nobody"):
        await alice.request("nobody", "x", {})
    assert len(await system.audit(decision="not_found")) == 2


async def test_an_agent_that_does_not_run_cannot_answer_but_gets_messages(system, calc, alice):
    """A request fails at once and is not a time-out; a message waits."""
    await calc.stop()

    with pytest.raises(NoResponder) as caught:
        await alice.request("calc", "math.add", {"numbers": []})
    receipt = await alice.send("calc", "math.later", {})

    assert isinstance(caught.value, RuntimeError)
    assert not isinstance(caught.value, TimeoutError)
    assert receipt.decision is Decision.ALLOWED
    again = await system.run("calc", Calculator)
    await until(lambda: "math.later" in again.calls)


async def test_an_agent_that_is_not_started_says_so(system):
    """Also as a RuntimeError."""
    agent = system.agent("alice")

    for call in (agent.send("calc", "x"), agent.request("calc", "x"), agent.discover()):
        with pytest.raises(NotStarted) as caught:
            await call
        assert isinstance(caught.value, RuntimeError)
    with pytest.raises(NotStarted):
        _ = agent.state


async def test_hooks_run_around_everything_and_agents_can_start_again(system):
    """on_start before the first message, on_stop after the last; a new start is a new instance."""
    calc = system.agent("calc", Calculator)
    async with calc:
        first = calc.instance
    async with calc:
        assert calc.instance != first

    assert calc.calls == ["on_start", "on_stop", "on_start", "on_stop"]


async def test_an_agent_whose_start_fails_is_not_running(system):
    """The error of on_start reaches the caller and nothing is left behind."""

    class Broken(Agent):
        async def on_start(self):
            raise RuntimeError("no database")

    broken = system.agent("calc", Broken)
    with pytest.raises(RuntimeError, match="no database"):
        await broken.start()

    with pytest.raises(NotStarted):
        _ = broken.instance


@pytest.mark.parametrize("target", ["a:b", "*", "Calc", "", "calc\n", "gateway"])
async def test_impossible_targets_are_refused_before_anything_is_sent(alice, target):
    """What cannot be an id is the caller's mistake."""
    with pytest.raises(InvalidIdentifier):
        await alice.send(target, "x", {})


@pytest.mark.parametrize("data", [[1], "text", 5, {"x": object()}, {"x": float("nan")}])
async def test_payloads_that_are_no_json_object_are_refused(alice, data):
    """Before anything is sent, or by the gateway; never delivered as something else."""
    with pytest.raises(InvalidPayload):
        await alice.send("calc", "math.raw", data)


async def test_a_message_that_expects_no_reply_cannot_be_answered(system, alice):
    """The handler that tries fails and nothing is sent."""

    class Chatty(Agent):
        async def on_message(self, message):
            self.problem = None
            try:
                await message.reply("x", {})
            except UsageError as error:
                self.problem = error

    await system.register("chatty")
    await system.allow(("alice", "chatty"))
    chatty = await system.run("chatty", Chatty)
    await alice.send("chatty", "x", {})

    await until(lambda: getattr(chatty, "problem", None))


async def test_a_message_carries_priority_headers_and_ids(system, alice):
    """What the sender gave and what the gateway added (M3, M5)."""
    await system.register("bob")
    await system.allow(("alice", "bob"))
    bob = await system.run("bob")

    receipt = await alice.send("bob", "x", {"n": 1}, priority="high", headers={"trace": "abc"})
    await until(lambda: bob.messages)

    (message,) = bob.messages
    assert message.message_id == receipt.message_id
    assert (message.priority, message.headers, message.attempt) == (8, {"trace": "abc"}, 1)
    assert (message.sender_id, message.target_id) == ("alice", "bob")


async def test_urgent_messages_overtake_and_low_ones_are_not_starved(system):
    """High first; of a long row of high ones some low ones come before its end."""
    await system.register("slow")
    await system.allow(("alice", "slow"))
    sender = await system.run("alice")
    for priority in ("low", "normal", "high"):
        for number in range(40):
            await sender.send("slow", priority, {"n": number}, priority=priority)

    slow = await system.run("slow", Recorder, max_in_flight=1)
    await until(lambda: len(slow.messages) == 120)

    order = [message.message_type for message in slow.messages]
    assert order[0] == "high"
    assert order[:24].count("high") >= 14
    last_high = max(index for index, lane in enumerate(order) if lane == "high")
    assert "low" in order[:last_high]
    for lane in ("high", "normal", "low"):
        assert [m.data["n"] for m in slow.messages if m.message_type == lane] == list(range(40))


async def test_an_id_given_twice_is_one_delivery_and_one_receipt(system, alice):
    """Whatever the second one holds; and also at the same time."""
    await system.register("bob")
    await system.allow(("alice", "bob"))
    bob = await system.run("bob")

    first = await alice.send("bob", "x", {"n": 1}, message_id="order-7")
    again = await asyncio.gather(*(alice.send("bob", "x", {"n": 2}, message_id="order-7") for _ in range(10)))
    await alice.send("bob", "x", {"n": 3})
    await until(lambda: 3 in bob.numbers)

    assert bob.numbers == [1, 3]
    assert {receipt.message_id for receipt in again} == {first.message_id}
    assert {receipt.decision for receipt in again} == {first.decision}
    assert len(await system.audit(decision="replayed")) == 10


async def test_a_refusal_for_good_is_the_answer_to_the_same_id_again(system, alice):
    """Also after the policy changed; a new id passes."""
    await system.register("bob")
    with pytest.raises(Forbidden):
        await alice.send("bob", "x", {}, message_id="order-8")
    await system.allow(("alice", "bob"))

    with pytest.raises(Forbidden):
        await alice.send("bob", "x", {}, message_id="order-8")
    await alice.send("bob", "x", {}, message_id="order-9")
