"""What a class's methods are marked as handlers of, and what is told of content that does not fit."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from mas_core.agent.handlers import handlers_of, on
from mas_core.agent.listeners import subscribe, topic_handlers_of
from mas_core.agent.marks import fitted
from mas_core.agent.task_handlers import task, task_handlers_of
from mas_core.errors import InvalidPayload, UsageError


class Order(BaseModel):
    """A payload."""

    amounts: list[int]
    to: str


class Base:
    """Handles one of each kind."""

    @on("order.new")
    @on("order.old")
    async def order(self, message: object) -> None:
        """Take orders."""

    @task("order.pack")
    async def pack(self, job: object, parameters: object) -> None:
        """Pack one."""

    @subscribe("orders.*")
    async def heard(self, message: object) -> None:
        """Hear of orders."""


class Sub(Base):
    """Handles some of them otherwise."""

    @on("order.old")
    async def old(self, message: object, payload: object) -> None:
        """Take old ones."""

    @subscribe("orders.*")
    async def listened(self, message: object, payload: object) -> None:
        """Hear of them too."""


def test_handlers_of_a_subclass_win_and_the_others_stay() -> None:
    """Of each kind, by what it handles; and each knows whether its method wants the payload."""
    found = handlers_of(Sub)
    assert {kind: (item.name, item.takes_payload) for kind, item in found.items()} == {
        "order.new": ("order", False),
        "order.old": ("old", True),
    }
    assert [(item.name, item.takes_parameters) for item in task_handlers_of(Sub).values()] == [("pack", True)]
    (topic,) = topic_handlers_of(Sub)
    assert (topic.pattern, topic.handler.name, topic.handler.takes_payload) == ("orders.*", "listened", True)
    assert handlers_of(Base)["order.old"].name == "order"


@pytest.mark.parametrize("mark", [on("order.new"), task("order.new"), subscribe("order.new")])
def test_a_handler_that_is_not_async_is_refused_at_once(mark: object) -> None:
    """When the class is written, not when the first message comes."""

    def handle(agent: object, message: object) -> None: ...

    with pytest.raises(UsageError, match=r"the handler of order\.new must be an async function"):
        mark(handle)  # type: ignore[operator]


def test_problems_say_where_and_never_what() -> None:
    """What came may be secret; where it is wrong is not."""
    with pytest.raises(InvalidPayload) as caught:
        fitted(Order, {"amounts": [1, "top secret"]}, "payload", "it does not fit")
    assert caught.value.message.startswith("it does not fit: amounts.1: ")
    assert "; to: Field required" in caught.value.message
    assert "secret" not in caught.value.message
