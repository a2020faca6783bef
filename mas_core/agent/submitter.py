"""Sends messages that are made: signed or encrypted where that is wanted, and once more where it had to be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mas_core.agent.link import Link
from mas_core.agent.outbox import Outbox
from mas_core.agent.outcomes import refusal
from mas_core.agent.peers import Peers
from mas_core.errors import Forbidden, MasError, TokenExpired, TokenRevoked
from mas_core.model.decision import Decision, Receipt
from mas_core.model.encrypted_payload import E2E_KEY
from mas_core.model.frame import MAX_FRAME_BYTES
from mas_core.model.message import Envelope, Flag
from mas_core.model.signature import SIGNATURE_REQUIRED
from mas_core.security.signing import sign

MAX_SENT_TOGETHER = 100
"""Messages of `submit_many` in one frame, so that others come in between."""

_ALLOWED = Decision.ALLOWED


class Submitter:
    """Sends as one agent.

    Args:
        link: Its keys.
        outbox: Takes messages to the gateway.
        peers: Encrypts for others.
        token_refused: Called when the gateway refuses a message because the token has expired or was revoked.
    """

    def __init__(self, link: Link, outbox: Outbox, peers: Peers, token_refused: Callable[[], None]) -> None:
        self._link = link
        self._outbox = outbox
        self._peers = peers
        self._token_refused = token_refused
        self.signs = False
        """Whether messages are signed; so from the first time that the gateway asks for it."""

    async def submit(self, envelope: Envelope, timeout: float, route: str = "") -> Receipt:
        """Send a message and wait for its receipt.

        Args:
            envelope: The message.
            timeout: Seconds to wait for the receipt.
            route: Whose partition a message to the gateway itself goes to; such a message is never signed.

        Raises:
            Refused: The gateway said no; the subclass says which stage.
            GatewayDown: No receipt came in time.
        """
        if self.signs and not route:
            self.sign(envelope)
        [receipt] = await self._outbox.submit_all((envelope,), route=route, timeout_s=timeout)
        if receipt.decision is _ALLOWED:
            return receipt
        if receipt.rule == SIGNATURE_REQUIRED and envelope.signature is None and not route:
            # The gateway wants signatures: from here on it gets them.
            self.signs = True
            return await self.submit(envelope, timeout)
        if not receipt.decision.is_accepted:
            error = refusal(receipt, self._link.agent_id, envelope.target, envelope.type)
            if isinstance(error, TokenExpired | TokenRevoked):
                self._token_refused()
            raise error
        return receipt

    def lost(self, message_id: str) -> MasError | None:
        """Why a message without a receipt is not on its way: the server is away; None for everything else."""
        return self._outbox.lost(message_id)

    async def submit_encrypted(self, envelope: Envelope, timeout: float) -> Receipt:
        """Send a message that only its target can read; raises as `submit` does."""
        clear = envelope.data
        await self._peers.encrypt(envelope)
        try:
            return await self.submit(envelope, timeout)
        except Forbidden as error:
            if error.details.get("rule") != E2E_KEY:
                raise
            # The keys of the target have changed since they were asked for.
            self._peers.forget(envelope.target)
            envelope.data = clear
            await self._peers.encrypt(envelope)
            return await self.submit(envelope, timeout)

    async def submit_many(self, envelopes: Sequence[Envelope], timeout: float) -> list[Receipt]:
        """Send messages in this order and wait for all receipts; a refusal raises nothing, its receipt says so."""
        receipts = await self._send_together(envelopes, timeout)
        unsigned = [
            at
            for at, receipt in enumerate(receipts)
            if receipt.rule == SIGNATURE_REQUIRED and envelopes[at].signature is None
        ]
        if unsigned:
            # The gateway wants signatures: from here on it gets them.
            self.signs = True
            again = await self._send_together([envelopes[at] for at in unsigned], timeout)
            for at, receipt in zip(unsigned, again, strict=True):
                receipts[at] = receipt
        return receipts

    async def _send_together(self, envelopes: Sequence[Envelope], timeout: float) -> list[Receipt]:
        answers: list[Awaitable[list[Receipt]]] = []
        together: list[Envelope] = []
        size = 0
        for envelope in envelopes:
            if self.signs:
                self.sign(envelope)
            size += len(envelope.data)
            if together and (len(together) == MAX_SENT_TOGETHER or size > MAX_FRAME_BYTES // 2):
                answers.append(self._outbox.submit_all(together, timeout_s=timeout))
                together, size = [], len(envelope.data)
            together.append(envelope)
        if together:
            answers.append(self._outbox.submit_all(together, timeout_s=timeout))
        return [receipt for receipts in await asyncio.gather(*answers) for receipt in receipts]

    def sign(self, envelope: Envelope) -> None:
        """Sign a message."""
        envelope.flags |= Flag.SIGNED
        envelope.signature = sign(self._link.keys, self._link.namespace, envelope)
