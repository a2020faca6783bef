"""Votes: open, cast, close, look at them, and check their trails with and without the system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mas_core.agent.consensus import Consensus, OpenVote
from mas_core.agent.vote_messages import Choice
from mas_core.base.clock import now_ms
from mas_core.base.ids import new_message_id, partition_of
from mas_core.base.resources import check_resource
from mas_core.coordination.proposals import proposal_of
from mas_core.coordination.tally import needed_weight, tally_of
from mas_core.coordination.trail import Verification, verify
from mas_core.coordination.vote_book import Kept, document, read_kept
from mas_core.coordination.voting import KIND
from mas_core.errors import Conflict, CoordinationRefused, DecryptionFailed, EvidenceDamaged, ResourceNotFound
from mas_core.model.resource_record import finished_purpose, record_purpose
from mas_core.model.vote import Motion, Proposal, Result, Trail
from mas_core.ops import audit
from mas_core.ops.audit_filter import AuditFilter
from mas_core.ops.messages import connected
from mas_core.ops.resources import open_records
from mas_core.ops.system import OPERATOR, System
from mas_core.security.seals import AtRest
from mas_core.settings.private_files import write_private
from mas_core.store.resources import finished_resource, open_resources

__all__ = [
    "AuditProof", "Choice", "Motion", "OpenVote", "Proposal", "Result", "Trail", "Verification", "VoteRow",
    "as_document", "check", "consensus", "document", "keys_of", "known_keys", "new_proposal_id", "proof",
    "read_trail", "standing", "trail", "verify", "votes", "write_trail",
]  # fmt: skip

MAX_TRAIL_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class VoteRow:
    """One line about a vote that is open, or was lately."""

    id: str
    title: str
    state: str
    strategy: str
    round: int
    voted: int
    participants: int
    choice: str
    """What won; empty while it is open."""
    deadline: int
    """Unix milliseconds by the server's clock; 0 where no time ends it."""


@dataclass(frozen=True, slots=True)
class AuditProof:
    """What the audit says of a trail."""

    ok: bool
    digest: str
    """Of the trail at hand; SHA-256, hex."""
    recorded: str
    """Of the trail by the audit's record of the decision; empty without one."""


_CONFLICTS = frozenset({"already_open", "already_decided", "double_vote", "late_vote", "wrong_round"})
"""Codes of refusals because somebody, or time, was first."""


def check(motion: Motion, proposal_id: str = "plan", proposer: str = OPERATOR) -> Proposal:
    """What a motion would be as a proposal.

    Raises:
        InvalidPayload: It contradicts itself, or leaves bounds.
    """
    return proposal_of(motion, proposal_id, proposer, now_ms())


@asynccontextmanager
async def consensus(system: System, as_agent: str = OPERATOR) -> AsyncIterator[Consensus]:
    """Votes of an agent whose token is at hand.

    Raises:
        Conflict: Somebody, or time, was first: it is open, decided or voted on already.
        SecretUnavailable: It is not.
        GatewayDown: No gateway runs.
    """
    async with connected(system, as_agent) as client:
        try:
            yield Consensus(client)
        except CoordinationRefused as error:
            code = error.details.get("agent_code")
            if code not in _CONFLICTS:
                raise
            raise Conflict(error.message, hint="mas consensus list", agent_code=code) from error


def new_proposal_id() -> str:
    """An id that no proposal has."""
    return new_message_id()


async def votes(system: System) -> list[VoteRow]:
    """Votes that are open or ended within the last hour, by id.

    Raises:
        SecretUnavailable: The gateway's keys, under which they are sealed, are not at hand.
    """
    kept = read_kept({name: record async for name, record in open_records(system, KIND)})
    return sorted((_row(vote) for vote in kept.values()), key=lambda row: row.id)


async def trail(system: System, proposal_id: str) -> Trail:
    """The trail of a vote, as far as it has come; finished ones are kept for 30 days.

    Raises:
        ResourceNotFound: There is none.
        EvidenceDamaged: What is stored was not written by a gateway.
        SecretUnavailable: The gateway's keys, under which it is sealed, are not at hand.
    """
    resource = check_resource(KIND, proposal_id.partition("/")[0])
    at_rest = AtRest(system.keys.at_rest_key)
    store = system.store
    kept = await _kept(system, at_rest, partition_of(resource, store.partitions), proposal_id)
    if isinstance(kept, Trail):
        return kept
    sealed = await finished_resource(store.connection, store.keys, KIND, proposal_id)
    if sealed is None:
        raise ResourceNotFound(
            f"there is no vote {proposal_id}", hint="mas consensus list", resource=f"{KIND}:{proposal_id}"
        )
    text = _unsealed(at_rest, finished_purpose(KIND, proposal_id), proposal_id, sealed)
    return msgspec.msgpack.decode(text, type=Trail)


async def known_keys(system: System, voters: Iterable[str]) -> dict[str, set[str]]:
    """Voter -> its Ed25519 public keys by the registrations here, for `verify`."""
    return {
        entry.registration.agent_id: {key.signing_key for key in entry.registration.keys}
        for entry in await system.registry.entries(list(voters))
    }


async def proof(system: System, found: Trail) -> AuditProof:
    """Whether the audit has this very trail for the decision; the chain itself is checked by `mas audit verify`."""
    proposal = found.proposal
    digest, recorded = found.digest(), ""
    target = f"{KIND}:{proposal.id.partition('/')[0]}"
    wanted = AuditFilter(kind="vote.decided", target=target, since=max(1, proposal.opened))
    async for item in audit.records(system, wanted):
        listed = item.record.details.get("votes")
        for vote in listed if isinstance(listed, list) else ():
            if vote["id"] == proposal.id:
                recorded = recorded or str(vote["trail"])
    return AuditProof(digest == recorded, digest, recorded)


def as_document(found: Trail) -> object:
    """A trail as JSON says it; it needs nothing else to be verified."""
    return msgspec.to_builtins(found)


def write_trail(path: Path, found: Trail) -> None:
    """Write a trail to a file that only its owner can read.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    write_private(path, msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def read_trail(path: Path) -> Trail:
    """A trail that was exported.

    Raises:
        EvidenceDamaged: The file holds none.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TRAIL_BYTES + 1)
        if len(text) <= MAX_TRAIL_BYTES:
            return msgspec.json.decode(text, type=Trail)
        problem = f"it has more than {MAX_TRAIL_BYTES} bytes"
    except OSError as error:
        problem = (error.strerror or "it cannot be read").lower()
    except (ValueError, RecursionError) as error:
        problem = str(error)
    raise EvidenceDamaged(f"{path} is no trail of a vote: {problem}", path=str(path))


def keys_of(found: Trail) -> dict[str, set[str]]:
    """Voter -> the public keys under which its ballots in a trail are signed."""
    keys: dict[str, set[str]] = {}
    for turn in found.rounds:
        evidence = [ballot for proof in turn.equivocations for ballot in (proof.first, proof.second)]
        for ballot in (*turn.ballots, *evidence):
            keys.setdefault(ballot.voter, set()).add(ballot.signature.public_key)
    return keys


def standing(found: Trail) -> dict[str, object]:
    """How a vote stands: weights of the last count, what is needed, and who has not voted."""
    proposal, turn = found.proposal, found.rounds[-1]
    tally = turn.tally or tally_of(proposal, turn, found.excluded)
    electorate = [proposal.delegate] if turn.is_delegated else list(proposal.participants)
    voted = {ballot.voter for ballot in turn.ballots}
    weights = tally.counts[-1].weights
    return {
        "weights": weights,
        "needed": tally.needed if turn.closed else needed_weight(proposal, proposal.total_weight),
        "total": tally.total,
        "voted": [voter for voter in electorate if voter in voted],
        "missing": [voter for voter in electorate if voter not in voted and voter not in found.excluded],
        "excluded": sorted(found.excluded),
        "refused": sum(len(item.rejections) + item.rejections_left_out for item in found.rounds),
    }


async def _kept(system: System, at_rest: AtRest, partition: int, proposal_id: str) -> Kept | None:
    """What is stored of a vote that is open or was lately."""
    stored = await open_resources(system.store.connection, system.store.keys, partition, KIND)
    records = {
        name: _unsealed(at_rest, record_purpose(KIND, name), name, sealed)
        for name, sealed in stored.items()
        if name == proposal_id or name.startswith(f"{proposal_id}/#")
    }
    return read_kept(records).get(proposal_id)


def _unsealed(at_rest: AtRest, purpose: str, name: str, sealed: bytes) -> bytes:
    try:
        return at_rest.open(purpose, sealed)
    except DecryptionFailed as error:
        raise EvidenceDamaged(
            f"what is stored of the vote {name} was not written by a gateway", hint="mas audit verify"
        ) from error


def _row(kept: Kept) -> VoteRow:
    proposal = kept.proposal
    if isinstance(kept, Trail):
        turn = kept.rounds[-1]
        return VoteRow(
            proposal.id,
            proposal.title,
            kept.state,
            proposal.strategy,
            turn.number,
            len(turn.ballots),
            1 if turn.is_delegated else len(proposal.participants),
            "",
            0 if turn.closed else turn.deadline,
        )
    return VoteRow(
        proposal.id,
        proposal.title,
        kept.result.outcome,
        proposal.strategy,
        kept.round,
        kept.voted,
        len(proposal.participants),
        kept.result.choice,
        0,
    )
