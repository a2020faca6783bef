"""Which stage costs what: figures from audit records, and their bars."""

from __future__ import annotations

from support.systems import live_system

from mas_cli.output.stage_bars import share_bar, stage_lines
from mas_core.model.audit_record import AuditRecord
from mas_core.ops.audit_filter import StoredRecord
from mas_core.ops.stage_times import StageTimes, stage_times, times_in


def stored(seq, *, waited=0, partition=0, **stages):
    return StoredRecord(partition, b"", AuditRecord(seq, 1, waited_ms=waited, stages_us=stages))


def text(lines):
    return ["".join(cell.text for cell in line).rstrip() for line in lines]


def test_times_are_those_of_messages_that_were_judged_together():
    """Three messages led by one count as one round; what comes before any leader is not counted."""
    newest_first = [
        stored(5), stored(4, waited=4, form=10, dlp=30), stored(3), stored(2, partition=1),
        stored(1, waited=9, form=20, dlp=100), stored(1, partition=1, form=30),
    ]  # fmt: skip
    found = times_in(newest_first)
    assert (found.messages, found.rounds, found.waited_p95_ms) == (6, 3, 9)
    form, dlp = found.stages
    assert (form.stage, form.p50_us, form.p95_us, form.us_per_message) == ("form", 20, 30, 10)
    assert (dlp.stage, dlp.p50_us, dlp.p95_us) == ("dlp", 100, 100)
    assert round(form.share + dlp.share, 6) == 1
    assert times_in([]) == StageTimes()


def test_bars_are_shares_of_the_dearest():
    """The longest bar is that of the dearest stage; a name off the wire stays one harmless line."""
    found = times_in([stored(1, form=25, **{"\x1b[31mdlp\n": 75})])
    lines = text(stage_lines(found, 80))
    assert lines[0].count("█") * 3 <= lines[1].count("█")
    assert "75%" in lines[1]
    assert not any("\x1b" in line or "\n" in line for line in lines)
    assert all(len(line) <= 80 for line in lines[:2])
    assert text(stage_lines(StageTimes(), 80)) == ["no message was judged lately"]
    assert share_bar(1, 2, 4) == "██  "
    assert share_bar(1, 2, 4, ascii_only=True) == "##  "


async def test_a_running_gateway_tells_its_stages(server_url):
    """What was just sent is counted, stage by stage in their order."""
    async with live_system(server_url, agents=["a", "b"], allow=[("a", "b")]) as running:
        await running.run("b")
        client = await running.client("a")
        await client.send_many("b", "x", [{}] * 20)
        found = await stage_times(running.system)
    assert found.messages == 20
    names = [stage.stage for stage in found.stages]
    assert names[0] == "form"
    assert names.index("access") < names.index("dlp") < names.index("inbox")
