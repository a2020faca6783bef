"""Decisions about messages whose ids can come again, so that each is decided once.

A message comes again under an id that its sender chose, and a reply as another answer to the same request. What
was decided is in the store; what was decided a moment ago is remembered here as well, since questions to the
store for one batch are sent before the batches before it are stored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from mas_core.gateway.transit import Transit, Verdict
from mas_core.model.decision import Decision, Receipt
from mas_core.model.encrypted_payload import E2E_KEY
from mas_core.model.message import Envelope, Flag
from mas_core.store.commits import Commit
from mas_core.store.lookups import Lookups

REPLAY_WINDOW_MS = 3_600_000
"""Frames older than this are refused, and ids are remembered for at least this long."""
DECIDED_BATCHES = 4
"""Batches that are remembered here."""

_DECODER = msgspec.msgpack.Decoder(Receipt)
_ENCODER = msgspec.msgpack.Encoder()


class DecidedIds:
    """What was decided about names; `effects` gets what must be committed."""

    def __init__(self, effects: list[Callable[[Commit], None]]) -> None:
        self._effects = effects
        self._recent: deque[dict[str, bytes]] = deque([{}], maxlen=DECIDED_BATCHES)

    def ask(self, names: Iterable[str], lookups: Lookups, now: int) -> None:
        """Ask which of these names were decided before."""
        bucket = now // REPLAY_WINDOW_MS
        for number in (bucket - 1, bucket):
            lookups.seen_ids(number, sorted(names))

    def repeats(self, transit: Transit, name: str, lookups: Lookups) -> bool:
        """Whether it was decided before; then the message ends as it did."""
        text = next((batch[name] for batch in self._recent if name in batch), lookups.seen.get(name))
        if text is None:
            return False
        receipt = _DECODER.decode(text)
        if receipt.message_id == transit.envelope.id:
            transit.is_repeat = True
            transit.end(
                Verdict(receipt.decision, receipt.reason or "decided before", receipt.rule, receipt.findings)
            )
            transit.approval = receipt.approval
            transit.due = receipt.deliver_at
        else:
            transit.end(Verdict(Decision.REPLAYED, "this request was answered before"))
        return True

    def remember(self, name: str, transit: Transit, now: int) -> None:
        """Remember a decision that stands for good."""
        if not _is_final(transit):
            return
        self.keep(name, transit.receipt(), now)

    def keep(self, name: str, receipt: Receipt, now: int) -> None:
        """Remember what was decided under a name, or go on remembering it."""
        text = self._recent[0][name] = _ENCODER.encode(receipt)
        bucket = now // REPLAY_WINDOW_MS
        self._effects.append(
            lambda commit: commit.remember_id(bucket, name, text, 2 * REPLAY_WINDOW_MS + 60_000)
        )

    def end_batch(self) -> None:
        """What is decided from here on belongs to the next batch."""
        self._recent.appendleft({})


def recurring_name(sender: str, envelope: Envelope) -> str:
    """Under which name a decision is remembered; empty when the id cannot occur again."""
    flags = envelope.flags
    if flags & Flag.IS_REPLY and not flags & Flag.PARTIAL:
        return f"{sender} reply {envelope.correlation[:128]}"
    return f"{sender} {envelope.id[:128]}" if flags & (Flag.CHOSEN_ID | Flag.SIGNED) else ""


def _is_final(transit: Transit) -> bool:
    """Whether a decision stands for good: a refused reply may be followed by one that tells of the refusal."""
    if transit.is_reply:
        return transit.decision.is_delivered
    # A message whose signature was not right is not known to be its sender's, so it decides nothing; one for
    # an outdated key comes again for the new one.
    return not (
        transit.decision.is_transient
        or transit.decision is Decision.UNAUTHENTICATED
        or transit.rule == E2E_KEY
    )
