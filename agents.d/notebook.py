"""A notebook: its state is kept by the system and survives restarts."""

from pydantic import BaseModel, Field

from mas_core import Agent, AgentMessage
from mas_core.errors import InvalidPayload

MOST_NOTES = 1000


class Note(BaseModel):
    """One note and who wrote it."""

    number: int
    text: str
    author: str


class Notes(BaseModel):
    """What the notebook remembers."""

    next_number: int = 1
    notes: list[Note] = []


class NewNote(BaseModel):
    """A note to keep."""

    text: str = Field(min_length=1, max_length=10_000)


class Search(BaseModel):
    """Which notes to list: those that contain a text, all without one."""

    contains: str = ""


class Number(BaseModel):
    """One note by its number."""

    number: int


class Notebook(Agent[Notes]):
    """Keeps notes. A change of state takes effect exactly once, together with its message."""

    @Agent.on("note.add", model=NewNote)
    async def add(self, message: AgentMessage, payload: NewNote) -> dict[str, object]:
        """Keep a note; the oldest goes when there are too many."""
        note = Note(number=self.state.next_number, text=payload.text, author=message.sender_id)
        await self.update_state(
            {"next_number": note.number + 1, "notes": [*self.state.notes, note][-MOST_NOTES:]}
        )
        return {"number": note.number}

    @Agent.on("note.list", model=Search)
    async def list_notes(self, _message: AgentMessage, payload: Search) -> dict[str, object]:
        """The notes that contain a text, oldest first."""
        wanted = payload.contains.casefold()
        found = [note.model_dump() for note in self.state.notes if wanted in note.text.casefold()]
        return {"notes": found, "count": len(found)}

    @Agent.on("note.remove", model=Number)
    async def remove(self, _message: AgentMessage, payload: Number) -> dict[str, object]:
        """Forget a note."""
        kept = [note for note in self.state.notes if note.number != payload.number]
        if len(kept) == len(self.state.notes):
            raise InvalidPayload(f"there is no note {payload.number}")
        await self.update_state({"notes": kept})
        return {"removed": payload.number}
