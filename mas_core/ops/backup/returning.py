"""What of a backup comes back, and how: not what was ended since, and nothing under a name that is given anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from mas_core.errors import DecryptionFailed
from mas_core.model.approval import (
    DUE_PREFIX,
    HeldMessage,
    approval_id_of,
    decision_field,
    due_name,
    item_field,
    mac_purpose,
    seal_purpose,
    seq_in,
)
from mas_core.model.dead_letter import END_PREFIX, LetterEnd, due_purpose, letter_id
from mas_core.model.frame import UNREADABLE
from mas_core.model.registration import AgentKey, DecryptionKey, Registration
from mas_core.model.scheduled import SCHEDULE_PREFIX
from mas_core.ops.backup.contents import DeadLine, LaterLine, Manifest
from mas_core.ops.backup.line_checks import LineCheck
from mas_core.ops.backup.positions import Continuation
from mas_core.ops.backup.since import Since
from mas_core.registry.signed import signed, verified
from mas_core.security.gateway_keys import GatewayKeys
from mas_core.security.seals import AtRest
from mas_core.store.backups import BackedItem, BackedLetter, LetterBack

Key = TypeVar("Key", bound=AgentKey | DecryptionKey)

NEW_LOG_NUMBERS: Final = 5 * 10**15
"""Approvals have numbers of the audit in their ids. Where that begins anew, old ones get numbers from here on."""


class Returning:
    """Says what is put back of dead letters and messages for later.

    Args:
        keys: The gateway's keys.
        manifest: Of the backup.
        since: What happened after it.
        audit: Where the audit of each partition goes on.
    """

    def __init__(
        self, keys: GatewayKeys, manifest: Manifest, since: Since, audit: Sequence[Continuation]
    ) -> None:
        self._keys = keys
        self._at_rest = AtRest(keys.at_rest_key)
        self._since = since
        self._audit = audit
        self._moved = [frozenset(facts.moved) for facts in manifest.partitions]
        self._check = LineCheck(keys, len(manifest.partitions))

    def letter(self, line: DeadLine) -> LetterBack | None:
        """A dead letter as it comes back; None when it was retried, or ended for good."""
        if letter_id(line.partition, line.entry) in self._since.letters:
            return None
        letter = BackedLetter(line.entry, line.fields, line.dropped_until)
        if not line.dropped_until:
            return LetterBack(letter)
        name = f"{END_PREFIX}{line.entry}"
        text = msgspec.msgpack.encode(LetterEnd(line.dropped_until))
        return LetterBack(letter, (name, self._at_rest.seal(due_purpose(line.partition, name), text)))

    def item(self, line: LaterLine) -> BackedItem | None:
        """A message for later as it comes back; None when it went out, or somebody decided about it."""
        if line.name.startswith(DUE_PREFIX):
            return self._held(line)
        if line.name.removeprefix(SCHEDULE_PREFIX) in self._since.schedules:
            return None
        if self._moved[line.partition] and "/" not in line.name:
            try:
                if self._check.delivery(line).id in self._moved[line.partition]:
                    return None
            except (DecryptionFailed, *UNREADABLE):
                pass
        return BackedItem(line.name, line.due, line.body, line.facts, line.decision)

    def _held(self, line: LaterLine) -> BackedItem | None:
        approval_id = line.name.removeprefix(DUE_PREFIX)
        if approval_id in self._since.approvals:
            return None
        if not self._audit[line.partition].is_new_log:
            return BackedItem(line.name, line.due, line.body, line.facts, line.decision)
        try:
            text = self._at_rest.open(seal_purpose(approval_id), line.body)
            held = msgspec.msgpack.decode(text, type=HeldMessage)
        except (DecryptionFailed, *UNREADABLE):
            return None
        new_id = approval_id_of(line.partition, NEW_LOG_NUMBERS + seq_in(approval_id))
        facts = msgspec.structs.replace(held.facts, approval_id=new_id)
        body = msgspec.msgpack.encode(HeldMessage(facts, held.delivery))
        field = decision_field(new_id)
        decided = verified(self._keys, mac_purpose(decision_field(approval_id)), line.decision)
        return BackedItem(
            due_name(new_id),
            line.due,
            self._at_rest.seal(seal_purpose(new_id), body),
            signed(self._keys, mac_purpose(item_field(new_id)), msgspec.json.encode(facts)),
            signed(self._keys, mac_purpose(field), decided) if decided is not None else b"",
        )


def merged_registration(
    backup: Registration, current: Registration | None, since: Since, now: int
) -> Registration:
    """The registration of a backup over the one that is there: keys of both count, and what is revoked stays so.

    Args:
        backup: The registration in the backup.
        current: The one that is there now, if any.
        since: What happened after the backup.
        now: Unix milliseconds by the server's clock.
    """
    is_removed = current is None and backup.agent_id in since.removed
    keys = _merged(backup.keys, current.keys if current is not None else ())
    decryption_keys = _merged(backup.decryption_keys, current.decryption_keys if current is not None else ())
    return msgspec.structs.replace(
        backup,
        keys=tuple(_ended(key, since, now, is_removed=is_removed) for key in keys),
        decryption_keys=tuple(_ended(key, since, now, is_removed=is_removed) for key in decryption_keys),
    )


def _merged(backup: Sequence[Key], current: Sequence[Key]) -> list[Key]:
    known: dict[str, Key] = {key.key_id: key for key in current}
    found: list[Key] = [
        _stricter(key, known.pop(key.key_id)) if key.key_id in known else key for key in backup
    ]
    everything = [*known.values(), *found]
    return sorted(everything, key=lambda key: -key.created) if known else found


def _stricter(one: Key, other: Key) -> Key:
    ends = [key.expires for key in (one, other) if key.expires]
    revoked = [key.revoked for key in (one, other) if key.revoked]
    return msgspec.structs.replace(one, expires=min(ends, default=0), revoked=min(revoked, default=0))


def _ended(key: Key, since: Since, now: int, *, is_removed: bool) -> Key:
    if key.revoked or not (is_removed or key.key_id in since.revoked):
        return key
    return msgspec.structs.replace(key, revoked=now)
