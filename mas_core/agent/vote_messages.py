"""What votes and the SDK say to each other: views, proposals and sheets of ballots as they travel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from mas_core.agent.link import Link
from mas_core.coordination.ballots import ballot_bytes, sign_sheet
from mas_core.coordination.packing import unpacked
from mas_core.coordination.vote_requests import MAX_TOGETHER, signature_text
from mas_core.model.json_text import encode_json
from mas_core.model.vote import Proposal, Result

MAX_TOGETHER_BYTES = 400_000
"""Of proposals that one message shows or opens."""

Choice = str | bool | Sequence[str] | None
"""An option; options by preference in a ranked vote; True and False for yes and no; None for an abstention."""


class View(msgspec.Struct):
    """What the gateway tells of a proposal."""

    id: str
    state: str
    round: int = 0
    deadline: int = 0
    options: list[str] = []
    electorate: list[str] = []
    voted: list[str] = []
    excluded: list[str] = []
    result: Result | None = None


def sheet_of(link: Link, items: Sequence[tuple[Proposal, Choice, int]]) -> dict[str, object]:
    """Signed ballots as they are cast: proposal, choice and round of each."""
    keys = link.keys
    me = link.agent_id
    leaves: list[bytes] = []
    ballots: list[dict[str, object]] = []
    words: list[str] = []
    for proposal, choice, round_number in items:
        ranking = ranking_of(choice)
        leaves.append(ballot_bytes(proposal.id, proposal.digest(), round_number, me, ranking))
        if not ballots or (ballots[-1]["round"], ballots[-1]["ranking"]) != (round_number, ranking):
            words = []
            ballots.append({"round": round_number, "ranking": ranking, "proposals": words})
        words.append(proposal.id.partition("/")[2])
    signature = sign_sheet(keys.signing_key, link.namespace, me, keys.key_id, leaves)
    return {"key_id": keys.key_id, "signature": signature_text(signature), "ballots": ballots}


def ranking_of(choice: Choice) -> list[str]:
    """A choice as it stands on a ballot."""
    match choice:
        case None:
            return []
        case bool():
            return ["yes" if choice else "no"]
        case str():
            return [choice]
    return list(choice)


def views_of(answer: Mapping[str, object]) -> list[View]:
    """How proposals stand, by an answer."""
    return msgspec.convert(unpacked(answer["votes"], MAX_TOGETHER), list[View])


def proposals_of(answer: Mapping[str, object]) -> list[Proposal]:
    """The proposals in an answer."""
    return msgspec.convert(unpacked(answer["proposals"], MAX_TOGETHER), list[Proposal])


def chunks_of(items: Sequence[dict[str, object]]) -> Iterable[list[dict[str, object]]]:
    """In parts that fit into one message."""
    part: list[dict[str, object]] = []
    size = 0
    for item in items:
        length = len(encode_json(item))
        if part and (size + length > MAX_TOGETHER_BYTES or len(part) == MAX_TOGETHER):
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    if part:
        yield part
