"""Places of rate limits: reserved for a whole batch, and given back where they were not used.

A message takes the place of its sender whatever becomes of it, so that refusals count too. A place of a total is
taken by what passes all other checks. Places that a batch did not need, and all of a batch that was not
committed, are given back with the next questions to the store. Where it is not known whether a batch was
committed, or whether places were reserved, they stay counted: rather too many than too few.

Reserving is a write, and a durable server answers a write only once it is on disk. So for senders that go on
sending, and whose limit is so high that a few places do not matter, the places of the next batch are reserved
along with the commit of the one before: a stock that lasts for a moment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mas_core.base.ids import partition_of
from mas_core.gateway.transit import Surroundings, Verdict
from mas_core.model.decision import Decision
from mas_core.model.message import Envelope, Flag
from mas_core.model.policy import RateLimit
from mas_core.security.rate_limits import RateLimits
from mas_core.store.keys import Keys
from mas_core.store.limits import MAX_ENTRIES, Grant, Reservation
from mas_core.store.lookups import Lookups

Grants = dict[str, Grant]

STOCK_AHEAD_MS = 60
"""How long a stock is counted as if it were used only then; longer than it lasts, so that no window is overfull."""
STOCK_LASTS_S = 0.04
MAX_STOCKS = 1000


@dataclass(slots=True)
class _Stock:
    places: int
    at: int
    until: float


class Places:
    """The places that an owner has reserved for batches which are not committed yet, and those to give back."""

    def __init__(self, partition: int, partitions: int) -> None:
        self._partition = partition
        self._partitions = partitions
        self._open: dict[int, Grants] = {}
        self._unused: list[tuple[str, int, int, bool]] = []
        self._owed: dict[str, int] = {}
        self._stocks: dict[str, _Stock] = {}
        self._used_at: dict[str, float] = {}

    def ask(self, lookups: Lookups, wanted: dict[str, int], limits: RateLimits) -> None:
        """Reserve places for the messages of each sender, and give back what was not used before.

        It is done once: when no answer comes nobody knows whether it was, and doing it twice would free
        places of messages that were let through.
        """
        now = time.monotonic()
        for sender in [name for name, stock in self._stocks.items() if stock.until < now]:
            self._drop_stock(sender)
        lookups.owed, self._owed = self._owed, {}
        for sender, count in lookups.owed.items():
            wanted[sender] = wanted.get(sender, 0) + count
        for sender, count in wanted.items():
            stock = self._stocks.get(sender)
            if stock is not None and stock.places >= count:
                stock.places -= count
                lookups.grants[sender] = Grant(count, stock.at, 0, "", by_second=False)
                continue
            self._drop_stock(sender)
            lookups.reserve(sender, count, limits.of(sender))
        for subject, at, places, by_second in self._unused:
            lookups.give_back(subject, at, places, by_second=by_second)
        self._unused.clear()

    def restock(self, grants: Grants, limits: RateLimits, keys: Keys) -> Reservation | None:
        """What to reserve along with the commit of a batch; None when there is nothing to."""
        now = time.monotonic()
        reservation = None
        for sender, grant in grants.items():
            before = self._used_at.get(sender, 0.0)
            self._used_at[sender] = now
            stock = self._stocks.get(sender)
            if (
                now - before > STOCK_LASTS_S
                or grant.window
                or (stock is not None and stock.places >= grant.granted)
                or not self._may_stock(sender, limits.of(sender))
            ):
                continue
            reservation = reservation or Reservation(keys, STOCK_AHEAD_MS)
            reservation.add(sender, grant.granted, limits.of(sender))
        if len(self._used_at) > 2 * MAX_STOCKS:
            self._used_at.clear()
        return reservation

    def restocked(self, grants: Grants, sent_at: float) -> None:
        """Places were reserved along with a commit that was sent at `sent_at`, by the monotonic clock."""
        for sender, grant in grants.items():
            self._drop_stock(sender)
            if grant.granted > 0:
                self._stocks[sender] = _Stock(grant.granted, grant.at, sent_at + STOCK_LASTS_S)

    def _may_stock(self, sender: str, limit: RateLimit) -> bool:
        is_high = limit.per_minute > MAX_ENTRIES and not limit.burst
        is_ours = ":" not in sender and partition_of(sender, self._partitions) == self._partition
        return is_high and is_ours and len(self._stocks) < MAX_STOCKS

    def _drop_stock(self, sender: str) -> None:
        stock = self._stocks.pop(sender, None)
        if stock is not None and stock.places > 0:
            self._unused.append((sender, stock.at, stock.places, False))

    def owe(self, sender: str) -> None:
        """A reply takes no place, unless it is refused: then it takes one of the next that there are."""
        self._owed[sender] = self._owed.get(sender, 0) + 1

    def reserved(self, grants: Grants) -> None:
        """Places were reserved for a batch."""
        if grants:
            self._open[id(grants)] = grants

    def keep(self, grants: Grants) -> None:
        """From here on it is not known what becomes of the batch, or there was none: the places stay counted."""
        self._open.pop(id(grants), None)

    def commit_ends(self, grants: Grants, left: dict[str, int], *, is_done: bool) -> None:
        """Now it is known; `left` are the places of each subject that no message took."""
        for subject, grant in grants.items():
            unused = left.get(subject, 0) if is_done else grant.granted
            if unused > 0:
                self._unused.append((subject, grant.at, unused, grant.by_second))

    def start_over(self) -> None:
        """Everything that was not committed is judged anew, with new places."""
        for grants in self._open.values():
            self.commit_ends(grants, {}, is_done=False)
        self._open.clear()


def is_counted(envelope: Envelope) -> bool:
    """Whether a message takes a place of its sender's rate limit: all but the final replies to requests."""
    return envelope.flags & (Flag.IS_REPLY | Flag.PARTIAL) != Flag.IS_REPLY


def limit_verdict(subject: str, sender: str, batch: Surroundings) -> Verdict:
    """The verdict on a message for which `subject` has no place left."""
    retry_after, window = batch.limit_retry.get(subject, (0.0, "minute"))
    whose = subject if subject == sender else f"{sender}: everybody under the total of {subject}"
    if window == "unreadable":
        what = "cannot be counted, because somebody else wrote into its counts"
        hint = f"mas limit reset {subject}"
    else:
        verb = "has" if retry_after else "may send nothing and has"
        what = f"{verb} used all messages of this {window}"
        hint = f"mas limit get {subject}"
    return Verdict(
        Decision.RATE_LIMITED,
        f"Rate limit exceeded: {whose} {what}",
        retry_after=retry_after,
        hint=(hint,),
    )
