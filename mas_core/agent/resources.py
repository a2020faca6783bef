"""Asks resources: groups of leaders, votes, queues of tasks."""

from __future__ import annotations

from mas_core.agent.client import REQUEST_TIMEOUT_S, Client
from mas_core.base.resources import check_resource
from mas_core.errors import AgentFailed, CoordinationRefused, MasError, ResourceNotFound

RETRY_S = 0.5
"""Pause after a refusal that does not say when to come back."""
NOT_FOUND = "not_found"
"""Code with which a machine says that it knows nothing of that name."""
LISTINGS = {
    "leader": "mas leader status",
    "task": "mas task list",
    "topic": "mas topic list",
    "vote": "mas consensus list",
}
"""Kind -> the command that lists what there is."""


async def ask(
    client: Client,
    kind: str,
    name: str,
    verb: str,
    data: object = None,
    *,
    timeout: float = REQUEST_TIMEOUT_S,
    message_id: str = "",
) -> dict[str, object]:
    """Tell a resource something and return what it answers.

    Args:
        client: Who asks, started.
        kind: topic, leader, vote or task.
        name: Of the resource, without its kind.
        verb: What it is told, such as `campaign`.
        data: A dict or a pydantic model.
        timeout: Seconds to wait.
        message_id: An id of your own, under which the same can be asked again and is done once.

    Raises:
        CoordinationRefused: It did not carry it out; `details["agent_code"]` says why.
        ResourceNotFound: It does not exist.
        Refused: The gateway did not let it through.
        RequestTimedOut: No answer came in time.
    """
    resource = check_resource(kind, name)
    try:
        reply = await client.request(resource, f"{kind}.{verb}", data, timeout=timeout, message_id=message_id)
    except AgentFailed as error:
        code = str(error.details.get("agent_code", ""))
        if code == NOT_FOUND:
            hint = error.hint or LISTINGS.get(kind, ())
            raise ResourceNotFound(error.message, hint=hint, resource=resource, agent_code=code) from None
        raise CoordinationRefused(
            error.message, hint=error.hint, resource=resource, agent_code=code
        ) from None
    return reply.data


def pause_after(error: MasError) -> float:
    """Seconds after which the same may go through."""
    after = error.details.get("retry_after")
    return max(RETRY_S, float(after)) if isinstance(after, int | float) else RETRY_S
