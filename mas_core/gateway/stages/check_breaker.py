"""Refuses messages to targets that keep failing, so that they can recover and nobody waits for them."""

from __future__ import annotations

from collections.abc import Sequence

from mas_core.base.traces import trace_of
from mas_core.gateway.breakers import Breakers
from mas_core.gateway.transit import Surroundings, Transit, Verdict, one_by_one
from mas_core.model.decision import Decision
from mas_core.resilience.circuit import Passage


class CheckBreaker:
    """Circuits of targets and of pairs. Replies pass: who waits for them is not who fails."""

    name = "breaker"

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers

    def sift(self, transits: Sequence[Transit], batch: Surroundings) -> Sequence[Transit]:
        """Those whose circuits let them pass: all, while nothing fails."""
        watched = self._breakers.watched
        if not watched or not any(transit.envelope.target in watched for transit in transits):
            return transits
        return one_by_one(self, transits, batch)

    def check(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """Circuit open, or nothing; a message that passes as a trial is one from here on."""
        envelope = transit.envelope
        if envelope.target not in self._breakers.watched or transit.is_reply:
            return None
        try:
            verdict = self.rehearse(transit, batch)
            if verdict is None:
                self._breakers.passes(
                    transit.sender,
                    envelope.target,
                    envelope.id,
                    batch.now,
                    expects_reply=transit.expects_reply,
                )
        except Exception as error:  # noqa: BLE001 - breakers are an aid: without them messages pass
            self._breakers.records.note_unreadable(trace_of(error))
            return None
        if verdict is not None:
            batch.turned_back.append(transit)
        return verdict

    def rehearse(self, transit: Transit, batch: Surroundings) -> Verdict | None:
        """What `check` would say, and nothing is begun."""
        sender, target = transit.sender, transit.envelope.target
        if target not in self._breakers.watched or transit.is_reply:
            return None
        passage, circuit = self._breakers.ask(sender, target, batch.now, expects_reply=transit.expects_reply)
        if passage is not Passage.REFUSED or circuit is None:
            return None
        why = self._breakers.reason(circuit, sender, target)
        return Verdict(
            Decision.CIRCUIT_OPEN,
            f"the circuit is open: {why}",
            retry_after=circuit.wait_ms(batch.now) / 1000,
            hint=(f"mas breaker list {target}", f"mas breaker reset {target}"),
        )
