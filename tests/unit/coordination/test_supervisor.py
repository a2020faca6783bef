"""What a supervisor does when the gateway does not answer."""

from types import SimpleNamespace

import pytest

from mas_core.agent import resources
from mas_core.agent.supervisor import Supervisor
from mas_core.errors import Forbidden, RequestTimedOut

DONE = dict.fromkeys(("attempt", "priority", "created", "started", "ended", "deadline"), 1) | {
    "task_id": "t",
    "queue": "default",
    "type": "w",
    "status": "done",
    "assigner": "boss",
    "worker": "ann",
}


async def test_waiting_survives_answers_that_do_not_come(monkeypatch):
    """Who waits as long as it takes is not told that an answer was lost, but what cannot be helped."""
    monkeypatch.setattr(resources, "RETRY_S", 0.0)
    answers = [RequestTimedOut("lost"), SimpleNamespace(data=DONE), Forbidden("no")]

    class Client:
        async def request(self, *_, **__):
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    boss = Supervisor(Client())
    assert (await boss.wait("t")).status == "done"
    with pytest.raises(Forbidden):
        await boss.wait("t")
