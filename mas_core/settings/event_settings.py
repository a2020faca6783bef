"""The section `events` of mas.yaml: where events are kept, and who keeps them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EventSettings(BaseModel):
    """How events of the project are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    record: bool = False
    """Whether `mas up` runs the recorder, which keeps what agents emit and what happens to the system."""
    topics: list[str] = []
    """Topics whose messages are kept too, such as `orders.>`; rules have to let event-recorder read them."""
    url: str | None = None
    """The database, as SQLAlchemy names it, or a reference to that; .mas/events/events.sqlite when not given."""
    keep_days: float | None = Field(default=None, gt=0, le=36_500)
    """How long events are kept that every consumer has processed; for ever when not given."""
