"""The entries of the commands about votes."""

from __future__ import annotations

from mas_cli.command_entry import Command

_NO_VOTE = {6: "there is no such vote"}
_REFUSED = {5: "the gateway said no; the error names the policy"}

CONSENSUS_COMMANDS: tuple[Command, ...] = (
    Command(
        "consensus open",
        "Propose something and ask the participants for votes",
        "write",
        "consensus:open_vote",
        (
            "mas consensus open 'Deploy 1.4?' --voters ann,bob,cat --wait",
            "mas consensus open 'Which region?' --voters ann,bob,cat --strategy ranked --option eu --option us",
            "mas consensus open 'Raise the limit?' --weight ann=2 --weight bob=1 --strategy weighted",
        ),
        {
            **_REFUSED,
            1: "with --wait: it was rejected",
            4: "with --wait: it was not decided in time",
            7: "another proposal has this id",
        },
    ),
    Command(
        "consensus vote",
        "Cast a signed ballot",
        "write",
        "consensus:vote",
        (
            "mas consensus vote plan yes --as ann",
            "mas consensus vote plan eu us --as ann",
            "mas consensus vote plan --abstain --as ann",
        ),
        {
            **_REFUSED,
            **_NO_VOTE,
            1: "the ballot does not count; the error says why",
            7: "it voted already, or too late",
        },
    ),
    Command(
        "consensus status",
        "Show how a vote stands, or what came out",
        "read",
        "consensus:status",
        ("mas consensus status plan", "mas consensus status plan --watch --until \"state != 'open'\""),
        {**_NO_VOTE, 1: "it was rejected"},
    ),
    Command(
        "consensus list",
        "List what is open, or ended within the last hour",
        "read",
        "consensus:list_votes",
        ("mas consensus list", "mas consensus list --state open --output json"),
    ),
    Command(
        "consensus close",
        "End one now, or decide one that was escalated",
        "write",
        "consensus:close",
        ("mas consensus close plan --as planner", "mas consensus close plan --choice yes"),
        {**_REFUSED, **_NO_VOTE, 1: "it is not this agent's to end", 7: "it is decided already"},
    ),
    Command(
        "consensus verify",
        "Recompute one from its signed ballots",
        "read",
        "consensus_trails:verify",
        (
            "mas consensus verify plan",
            "mas consensus verify --file plan.json --public-key ann=3b6a27bcceb6a42d62a3a8d02a6f0d73",
        ),
        {**_NO_VOTE, 1: "something in it does not follow from its ballots"},
    ),
    Command(
        "consensus export",
        "Write the whole trail of one to a file",
        "read",
        "consensus_trails:export",
        ("mas consensus export plan --out plan.json", "mas consensus export plan > plan.json"),
        {**_NO_VOTE, 7: "the file exists already"},
        output="json",
    ),
)
