"""The policy document in the store."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from mas_core.errors import Conflict, IntegrityError, InternalError, RevisionNotFound
from mas_core.model.policy import PolicyDocument
from mas_core.registry.operator_log import OperatorLog
from mas_core.registry.policy_difference import policy_difference
from mas_core.registry.signed import Macs
from mas_core.store.records import Records

_DOCUMENT = msgspec.json.Decoder(PolicyDocument)

ATTEMPTS = 8
"""How often a change is tried again when somebody else changed the policy at the same time."""


class PolicyRecord:
    """Reads and replaces the policy document as a whole.

    Args:
        records: The store's records.
        macs: What the document is authenticated with.
        log: Where changes are recorded; whoever has none only reads.
        check: Given the document before and after a change; what it raises keeps the change out.
    """

    def __init__(
        self,
        records: Records,
        macs: Macs,
        log: OperatorLog | None = None,
        check: Callable[[PolicyDocument, PolicyDocument], None] = lambda _before, _after: None,
    ) -> None:
        self._records = records
        self._macs = macs
        self._log = log
        self.check = check
        """What gateways could not use is refused here, since they would go on with what they have."""

    async def load(self) -> PolicyDocument | None:
        """The policy in force; None when there is none.

        Raises:
            IntegrityError: What is stored was not written by this system, or cannot be read.
        """
        fields = await self._records.policy()
        if "document" not in fields:
            return None
        if not self._macs.check_mac("policy", fields["document"], fields.get("mac", b"")):
            raise IntegrityError("the stored policy does not carry this system's MAC and is ignored")
        return _decoded(fields["document"])

    async def history(self, newest: int = 100) -> list[PolicyDocument]:
        """Earlier revisions and the one in force, newest first; what does not carry the MAC is left out."""
        return [
            _decoded(fields["document"])
            for fields in await self._records.policy_history(newest)
            if self._macs.check_mac("policy", fields.get("document", b""), fields.get("mac", b""))
        ]

    async def at(self, revision: int) -> PolicyDocument:
        """The policy as it was at a revision.

        Raises:
            RevisionNotFound: It is not kept.
        """
        for document in await self.history(0):
            if document.revision == revision:
                return document
        raise RevisionNotFound(
            f"the policy has no revision {revision}", hint="mas rbac history", revision=revision
        )

    async def time_ms(self) -> int:
        """The server's clock, by which rules end; Unix milliseconds."""
        return await self._records.time_ms()

    async def change(self, edit: Callable[[PolicyDocument], PolicyDocument]) -> PolicyDocument:
        """Replace the document with what `edit` makes of it; in force when this returns.

        Nothing is written when `edit` returns the document unchanged.

        Raises:
            Conflict: Others kept changing it at the same time.
            ConfigurationError: No gateway could use it.
            AuditUnavailable: It cannot be recorded.
            InternalError: This was opened for reading alone.
        """
        if self._log is None:
            raise InternalError("the policy was opened for reading alone")
        current = await self.load()
        wanted = edit(current or PolicyDocument())
        if wanted == current:
            return current
        self.check(current or PolicyDocument(), wanted)
        from_revision = current.revision if current else 0
        async with self._log.writing("policy", change={"from_revision": from_revision}) as change:
            before, after, text = await self._replace(edit, self._log.operator.actor)
            if after is not before:
                change.facts = policy_difference(before, after, text)
        return after

    async def _replace(
        self, edit: Callable[[PolicyDocument], PolicyDocument], actor: str
    ) -> tuple[PolicyDocument, PolicyDocument, bytes]:
        """What was in force, what is now, and its bytes."""
        for _ in range(ATTEMPTS):
            current = await self.load()
            before = current or PolicyDocument()
            after = edit(before)
            if current is not None and after == before:
                return before, before, b""
            self.check(before, after)
            after = msgspec.structs.replace(
                after,
                revision=before.revision + 1,
                changed_by=actor,
                changed_at=await self._records.time_ms(),
            )
            text = msgspec.json.encode(after)
            if await self._records.put_policy(
                before.revision, after.revision, text, self._macs.mac("policy", text)
            ):
                await self._records.raise_revision()
                return before, after, text
        raise Conflict("the policy is being changed by somebody else at the same time", hint="try again")


def _decoded(text: bytes) -> PolicyDocument:
    try:
        return _DOCUMENT.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise IntegrityError(f"the stored policy cannot be read and is ignored ({error})") from None
