"""An agent that would like to talk to everybody, and may not."""

from pydantic import BaseModel, Field

from mas_core import Agent, AgentMessage
from mas_core.errors import AgentNotFound, Refused


class Rumour(BaseModel):
    """Something heard, and who should hear it next."""

    text: str = Field(min_length=1, max_length=1000)
    to: str = "notebook"


class Gossip(Agent):
    """Answers `gossip.tell` with whether the rumour could be passed on."""

    @Agent.on("gossip.tell", model=Rumour)
    async def tell(self, message: AgentMessage, payload: Rumour) -> dict[str, object]:
        """Pass a rumour on as a note."""
        try:
            await self.send(payload.to, "note.add", {"text": f"{message.sender_id} says: {payload.text}"})
        except (Refused, AgentNotFound) as error:
            return {"passed_on": False, "code": error.code, "because": error.message, "try": list(error.hint)}
        return {"passed_on": True}
