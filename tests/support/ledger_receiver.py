"""An agent for a project under test: writes down the id of every message that it handles."""

from mas_core import Agent, AgentMessage


class Receiver(Agent):
    """Keeps an outside ledger of what its handler saw."""

    async def on_start(self) -> None:
        """Open the ledger; the project's folder is the current one."""
        self.ledger = open("handled.log", "a", buffering=1)  # noqa: PTH123, SIM115 - open as long as it lives

    @Agent.on("load.item")
    async def take(self, message: AgentMessage) -> None:
        """Note the id before the message is settled."""
        self.ledger.write(f"{message.message_id}\n")
