"""Tells agents the public keys of others: to encrypt for them, and to check what they signed."""

from __future__ import annotations

import msgspec

from mas_core.base.ids import GATEWAY
from mas_core.gateway.controls import KeysData, read_control
from mas_core.gateway.directory import Directory
from mas_core.gateway.outbound import Outbound
from mas_core.gateway.transit import Transit, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import Delivery, Flag

ANSWER_TTL_MS = 60_000


class KeyAnswers:
    """Answers from the registrations that carry the gateway's MAC. Public keys are no secret."""

    def __init__(self, directory: Directory, outbound: Outbound) -> None:
        self._directory = directory
        self._outbound = outbound

    def answer(self, transit: Transit) -> Verdict:
        """Send the keys of the agents that are asked for, as far as they are registered.

        Raises:
            msgspec.DecodeError: The question cannot be read.
        """
        wanted = read_control(transit.envelope.data, KeysData)
        found = {}
        for agent_id in wanted.agents:
            registration = self._directory.registration(agent_id)
            if registration is not None:
                found[agent_id] = {
                    "keys": [key for key in registration.keys if not key.revoked],
                    "decryption_keys": [
                        key for key in registration.decryption_keys if key.is_valid(transit.now)
                    ],
                }
        data = {"agents": found, "suites": self._directory.policy.e2e_suites, "now": transit.now}
        self._outbound.answer(
            transit.instance,
            Delivery(
                f"{transit.envelope.id}.reply",
                GATEWAY,
                transit.sender,
                "mas.known_keys",
                msgspec.json.encode(data),
                transit.now,
                transit.now + ANSWER_TTL_MS,
                transit.envelope.priority,
                Flag.IS_REPLY,
                transit.envelope.id,
            ),
        )
        return Verdict(Decision.ALLOWED, "")
