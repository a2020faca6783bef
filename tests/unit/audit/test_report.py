"""The report for auditors: periods, counts, gaps, and text that nobody can break out of."""

from __future__ import annotations

import html.parser
import itertools
import json
import re
import tracemalloc

import msgspec
import pytest
from support.report_samples import DAY, NOW, WHOLE, hostile, records, report_of, with_policy

from mas_core.audit.report import tally as tallies
from mas_core.audit.report.catalogue import STANDARDS, controls, parse_standards, standard
from mas_core.audit.report.facts import CheckpointState, Keeping, Proof
from mas_core.audit.report.markdown import markdown
from mas_core.audit.report.measures import NAMES
from mas_core.audit.report.page import page
from mas_core.audit.report.period import parse_period
from mas_core.audit.report.plots import scale_for
from mas_core.audit.report.tally import Tally
from mas_core.base.clock import rfc3339
from mas_core.errors import UsageError
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Decision, Finding

HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(2)>|`\u202e\x1b[2J\n# x\"'"

ALERT = Finding("card", "pci", "/a", 0, 1, "alert")

BROKEN = Proof(1, ok=False, records=9, verified_to=4, head="", first_bad=5, problem="record 5 was changed")


def gaps(found) -> str:
    return "\n".join(gap.text for gap in found.gaps())


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("1d", "2026-11-20T12:00:00.000Z", "2026-11-21T12:00:00.000Z"),
        ("2026-Q3", "2026-07-01T00:00:00.000Z", "2026-10-01T00:00:00.000Z"),
        ("2026-q4", "2026-10-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ("2026-12", "2026-12-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ("2024-02", "2024-02-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
        ("2026", "2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
        ("2026-11-21", "2026-11-21T00:00:00.000Z", "2026-11-22T00:00:00.000Z"),
        ("2026-01-01..2026-03-31", "2026-01-01T00:00:00.000Z", "2026-04-01T00:00:00.000Z"),
        ("2026-Q1..2026-02", "2026-01-01T00:00:00.000Z", "2026-03-01T00:00:00.000Z"),
        ("2026-11-01T08:00:00+02:00..2026-11-02", "2026-11-01T06:00:00.000Z", "2026-11-03T00:00:00.000Z"),
    ],
)
def test_periods_are_understood(text, since, until):
    """Days are those of UTC, and the last one named is inside."""
    period = parse_period(text, NOW)

    assert (rfc3339(period.since), rfc3339(period.until)) == (since, until)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026-Q5", "2026-13", "2026-02-30", "0d", "..", "2026..2025", "9" * 30 + "d", "99999"],
)
def test_what_is_no_period_is_refused(text):
    """As a usage error that shows how to write one."""
    with pytest.raises(UsageError) as caught:
        parse_period(text, NOW)

    assert "2026-Q3" in str(caught.value.hint)


def test_every_control_rests_on_measures_and_says_what_it_does_not_cover():
    """No control without evidence and without a limit, and none twice."""
    for name in STANDARDS:
        found = standard(name)
        ids = [control.id for control in found.controls]
        assert len(ids) == len(set(ids))
        assert found.outside
        assert found.source.startswith("https://")
    for control in controls():
        assert set(control.measures) <= set(NAMES)
        assert control.evidence
        assert control.not_covered


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("hipaa", r"164\.3(08|12|16)(\([a-z]+\)|\(\d\)|\([ivx]+\)|\([A-Z]\))+"),
        ("soc2", r"(CC[1-9]|C1|A1)\.\d"),
        ("gdpr", r"Art\. \d+(\(\d\)(\([a-f]\))?)?"),
        ("pci", r"(A3\.)?\d+\.\d+(\.\d+){0,2}"),
    ],
)
def test_control_numbers_have_the_form_of_their_standard(name, pattern):
    """45 CFR 164.3xx, Trust Services Criteria, articles, requirements."""
    assert all(re.fullmatch(pattern, control.id) for control in standard(name).controls)


def test_standards_are_named_in_a_list():
    """In the order given, each once; all means all."""
    assert [item.name for item in parse_standards("pci, HIPAA,pci")] == ["pci", "hipaa"]
    assert [item.name for item in parse_standards("all")] == list(STANDARDS)
    for wrong in ("", "sox", "hipaa,../x"):
        with pytest.raises(UsageError):
            parse_standards(wrong)


def test_no_report_says_that_anybody_complies():
    """Records support controls; what they mean is for the auditor to say."""
    found = report_of(records())

    for text in (page(found), markdown(found), json.dumps(msgspec.to_builtins(found))):
        assert not re.search("complian|compliant|certif(?!icate)", text, re.IGNORECASE)
        assert "records that support" in text


def test_a_period_in_which_everything_is_there_has_no_gap():
    """Gaps are found, not printed always."""
    found = report_of(records())

    assert gaps(found) == ""
    assert "None was found" in page(found)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"proofs": None, "unknown": {"proofs": "no store"}}, "the records were not verified: no store"),
        ({"proofs": (BROKEN,)},
         "the chain of partition 1 in the store is broken at record 5: record 5 was changed; records up to 4"),
        ({"checkpoints": None}, "no signed checkpoint is known"),
        ({"checkpoints": (CheckpointState(0, 10, NOW - 90_000, 400),)}, "covers 10 of 400 records"),
        ({"is_pinned": False}, "signatures were checked with the key that lies beside the records"),
        ({"partitions": 3}, "2 partitions without a signed checkpoint"),
        ({"keeping": None}, "no policy of keeping records is in force"),
        ({"keeping": Keeping(30, 400)}, "records are kept for 400 days; HIPAA Security Rule asks for 2190"),
        ({"keeping": Keeping(30, 400)}, "records are at hand for 30 days; PCI DSS asks for 90"),
        ({"credentials": None}, "it is not known which agents are registered"),
        ({"policy": None}, "it is not known which rules are in force"),
    ],
)  # fmt: skip
def test_what_is_missing_outside_of_the_records_is_a_gap(facts, text):
    """What could not be found out too."""
    assert text in gaps(report_of(records(), **facts))


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (
            {"features": {"rbac": False, "dlp": True, "message_signing": True}},
            "access rules are switched off",
        ),
        (
            {"features": {"rbac": True, "dlp": False, "message_signing": True}},
            "scan of payloads is switched off",
        ),
        ({"features": {"rbac": True, "dlp": True}}, "senders need not sign"),
        ({"open_rules": ("r1",)}, "everybody send anything to everybody: r1"),
        ({"detection_off": ("phi",)}, "does not look for: phi"),
        ({"is_history_whole": False}, "no longer kept"),
    ],
)
def test_what_the_policy_leaves_open_is_a_gap(policy, text):
    """Whether it is switched off or too wide."""
    assert text in gaps(report_of(records(), with_policy(**policy)))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([], "there is no record of this period"),
        (records()[:20], "nothing is recorded from the start of the period"),
        (
            [item for item in records() if not NOW - 9 * DAY < item.time < NOW - 5 * DAY],
            "1 stretch without any record",
        ),
        (records()[:30], "no act of an operator is recorded"),
        (
            [*records(), AuditRecord(1, NOW - 1, "operator", "done", actor="a@b")],
            "1 act of an operator without a reason",
        ),
        (
            [*records(), AuditRecord(1, NOW - 1, "operator", "begun", actor="a@b")],
            "begun, and no end is recorded",
        ),
        ([*records(), AuditRecord(1, NOW - 1, "operator", "unauthenticated")], "nobody vouches for"),
        (records()[:32], "no question to the audit"),
        (
            [*records(), AuditRecord(1, NOW - 1, decision="allowed", details={"encryption": {}})],
            "1 message end-to-end encrypted",
        ),
        ([*records(), AuditRecord(1, NOW - 1, decision="store_full")], "1 message refused because the store"),
        (
            [*records(), AuditRecord(1, NOW - 1, decision="alert", findings=(ALERT,))],
            "1 finding delivered as found",
        ),
    ],
)
def test_what_the_records_leave_open_is_a_gap(given, text):
    """Silence, acts without a name or a reason, payloads that nobody could look into."""
    assert text in gaps(report_of(given))


def test_a_gap_of_one_standard_is_no_gap_of_another():
    """How long records are kept is long enough for one and too short for the other."""
    found = report_of(records(), standards="hipaa,pci", keeping=Keeping(90, 400))
    (gap,) = found.gaps()

    assert found.concerns(gap) == [("HIPAA Security Rule", ["164.316(b)(2)(i)"])]


def test_every_record_is_counted_once():
    """Messages by what became of them; what is no message apart."""
    given = [
        AuditRecord(number, NOW - 1 - number, decision=str(item)) for number, item in enumerate(Decision)
    ]
    given += [AuditRecord(99, NOW - 5, "agent.attach"), AuditRecord(100, NOW - 6, "delivery.dead")]

    found = report_of(given)

    assert found.records == len(given)
    assert (found.messages, found.delivered) == (len(Decision), 3)
    assert found.refused == len(Decision) - 5
    assert sum(item.delivered + item.held + item.refused + item.others for item in found.over_time) == len(
        given
    )


def test_bars_cover_the_period_without_a_hole_and_are_never_many():
    """From minutes to decades."""
    for text in ("10s", "1h", "1d", "30d", "2026-Q3", "2026", "2000..2026", "0001-01-01..9999-01-01"):
        counted = Tally(parse_period(text, NOW))
        period = counted.period
        starts = [item.start for item in counted.buckets]

        assert starts[0] <= period.since
        assert starts[-1] < period.until <= starts[-1] + counted.bucket_ms
        assert {after - before for before, after in itertools.pairwise(starts)} <= {counted.bucket_ms}
        assert len(starts) <= tallies.MAX_BUCKETS + 1
        for at in (period.since, period.until - 1):
            counted.add(0, AuditRecord(1, at, decision="allowed"))


def test_memory_does_not_grow_with_records_or_names(monkeypatch):
    """Names beyond the limit are counted together, and no count is lost."""
    monkeypatch.setattr(tallies, "MAX_NAMES", 50)
    counted = Tally(parse_period("30d", NOW))

    def feed(count: int) -> None:
        for number in range(count):
            counted.add(
                0,
                AuditRecord(
                    number,
                    NOW - 1 - number,
                    decision="denied",
                    rule=f"r{number}",
                    sender=f"s{number}",
                    actor="x",
                ),
            )
            counted.add(0, AuditRecord(number, NOW - 1, f"kind{number}", actor=f"a{number}", reason="r"))

    feed(2000)
    tracemalloc.start()
    feed(10_000)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown < 600_000
    assert counted.refused_by.total == 12_000
    assert sum(count for _, count in counted.refused_by.most()) + counted.refused_by.others == 12_000
    assert len(counted.refused_by) == 50
    assert counted.act_count == 12_000


def test_hostile_text_stays_text_in_html():
    """No element, no attribute and no address comes out of a record; nothing can be loaded or run."""
    found = report_of(hostile(HOSTILE), system=HOSTILE, by=HOSTILE)
    seen: list[str] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)
            assert tag not in {"script", "img", "iframe", "link", "object", "embed", "form", "base"}
            for name, value in attrs:
                assert not name.startswith("on")
                assert name not in {"style", "src"}
                if name == "href":
                    assert value.startswith(("#", "https://"))

    text = page(found)
    Reader().feed(text)

    assert seen.count("style") == 1
    assert "default-src 'none'" in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;" in text


def test_hostile_text_stays_text_in_markdown():
    """No new line, no markup, no cell of its own."""
    text = markdown(report_of(hostile(HOSTILE), system=HOSTILE, by=HOSTILE))

    assert "<script" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert not any(line.strip() == "# x" for line in text.splitlines())
    for _, lines in itertools.groupby(text.splitlines(), lambda line: line.startswith("|")):
        table = [re.sub(r"\\.", "", line) for line in lines]
        if table[0].startswith("|"):
            assert len({line.count("|") for line in table}) == 1


def test_json_says_everything_and_what_it_is():
    """With a schema, every control, every gap."""
    found = json.loads(msgspec.json.encode(report_of(records(), standards="hipaa", proofs=None)))

    assert found["schema"] == "mas.audit.report/1"
    assert [item["id"] for item in found["standards"][0]["controls"]] == [
        control.id for control in standard("hipaa").controls
    ]
    assert found["measures"]["integrity"]["gaps"][0]["text"].startswith("the records were not verified")
    assert found["is_intact"] is None


def test_axes_have_round_steps():
    """From one message to millions."""
    for highest in (0, 1, 3, 7, 10, 99, 101, 12345, 10**9):
        scale = scale_for(highest)
        assert scale.top >= highest
        assert scale.top % scale.step == 0
        assert 1 <= scale.top // scale.step <= 6


def test_a_whole_system_stands_for_itself():
    """The sample that other tests start from has what they take away."""
    assert WHOLE.policy is not None
    assert WHOLE.credentials is not None
