"""Documents say what the code does: tables in Markdown are compared with what they describe."""

import re
from pathlib import Path

import pytest

from mas_cli.command_table import COMMANDS
from mas_cli.output.exit_codes import ExitCode, exit_code_of
from mas_core import errors
from mas_core.agent.outcomes import refusal
from mas_core.audit.chain import Chain
from mas_core.errors import MasError
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Decision, Receipt
from mas_core.model.frame import FrameHeader, FrameReceipt
from mas_core.model.message import Delivery, Envelope, Flag
from mas_core.model.priority import PRIORITY_NAMES, lane_of
from mas_core.server.statuses import status_of

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
MESSAGES = (REPOSITORY / "docs" / "messages.md").read_text()


def table(text: str, first_heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    found = re.search(rf"^\| {re.escape(first_heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found, f"there is no table of {first_heading}"
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()]


@pytest.mark.parametrize(
    ("heading", "structure"),
    [
        ("Header field", FrameHeader),
        ("Envelope field", Envelope),
        ("Delivery field", Delivery),
        ("Frame receipt field", FrameReceipt),
        ("Receipt field", Receipt),
        ("Record field", AuditRecord),
    ],
)
def test_tables_of_fields_are_complete_and_in_order(heading, structure):
    """Structures travel as arrays, so the order of their fields is the format."""
    assert [row[0] for row in table(MESSAGES, heading)] == list(structure.__struct_fields__)


def test_table_of_statuses_tells_what_a_server_of_agents_answers():
    """Each code stands in the row of the status that a call ends with, and each status has its row."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MasError)]
    statuses = {kind.code: status_of(kind.__new__(kind)).name for kind in kinds}
    rows = table((REPOSITORY / "docs" / "protocol.md").read_text(), "Status")
    told = {code: status for status, codes, _ in rows for code in re.findall(r"`(\w+)`", codes)}

    assert told == {code: statuses[code] for code in told}
    assert {row[0] for row in rows} == set(statuses.values())


def test_table_of_decisions_tells_error_and_exit_codes():
    """Each decision stands there with what the library raises and the command returns."""
    wanted = []
    for decision in Decision:
        if decision.is_delivered:
            wanted.append([decision, "yes", "-", "0"])
        elif decision.is_accepted:
            wanted.append([decision, "later", "-", "0"])
        else:
            error = refusal(Receipt("m", decision), "a", "b", "t")
            wanted.append([decision, "no", error.code, str(int(exit_code_of(error)))])

    assert [row[:4] for row in table(MESSAGES, "Decision")] == wanted


def test_transient_decisions_are_named():
    """Senders need to know which refusals may pass when they try again."""
    sentence = next(line for line in MESSAGES.splitlines() if "may pass when they are sent again" in line)

    assert set(re.findall(r"`(\w+)`", sentence)) == {item for item in Decision if item.is_transient}


def test_table_of_priorities_tells_number_and_lane():
    """Names, numbers and lanes are those of the code, in its order."""
    wanted = [[name, str(number), lane_of(number)] for name, number in PRIORITY_NAMES.items()]

    assert table(MESSAGES.partition("## Priorities")[2], "Name") == wanted


def test_table_of_flags_has_every_bit():
    """Each bit of an envelope is explained."""
    bits = sorted(value for name, value in vars(Flag).items() if name.isupper())

    assert [int(row[0]) for row in table(MESSAGES, "Bit")] == bits


def test_check_of_the_chain_that_the_document_shows_finds_a_changed_record():
    """The snippet accepts what the gateway writes and names the record that no longer fits."""
    snippet = re.search(r"```python\n(.*?)```", MESSAGES, re.DOTALL)
    assert snippet
    names: dict = {}
    exec(snippet[1], names)  # noqa: S102 - our own document
    chain = Chain()
    lines = [chain.append(AuditRecord(seq=0, time=number, reason="r", prev="")) for number in range(4)]

    changed = [lines[0], lines[1].replace(b'"r"', b'"s"'), *lines[2:]]

    assert names["first_wrong_line"](lines) is None
    assert names["first_wrong_line"](changed) == 2


def test_readme_has_every_exit_code_that_a_command_chooses():
    """Codes from 0 to 9 are an interface."""
    documented = {int(row[0]) for row in table(README, "Exit code")}

    assert documented == {int(code) for code in ExitCode if code < 10}


def test_readme_names_every_command():
    """The short table leaves no command out."""
    cells = re.findall(r"`([^`]+)`", " ".join(row[0] for row in table(README, "Command")))
    named, group = set(), ""
    for cell in cells:
        words = cell.removeprefix("mas ").split()
        if cell.startswith("mas ") and len(words) > 1 and words[0] != "help":
            group = words[0]
        named |= {" ".join(words), f"{group} {' '.join(words)}", words[0]}

    missing = {command.name for command in COMMANDS} - named
    assert missing <= {"completion bash", "completion zsh", "completion fish"}
