"""How lists, single things and streams look in every format."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from mas_cli.commands.server import _COLUMNS as SERVER_COLUMNS
from mas_cli.errors import OutputClosed
from mas_cli.output.certificate_rows import CERTIFICATE_COLUMNS
from mas_cli.output.colours import Palette, palette_for
from mas_cli.output.columns import Column, cell, duration
from mas_cli.output.formats import Format, Output, OutputOptions, parse_format
from mas_core.errors import UnknownFormat, UsageError

COLUMNS = (
    Column("id", style=lambda _: "name"),
    Column("load", kind="number"),
    Column("note", flexible=True),
    Column("meta.zone", header="zone"),
)
RECORDS = [
    {"id": "a", "load": 3, "note": None, "meta": {"zone": "eu"}, "extra": True},
    {"id": "tutor-2", "load": 12, "note": "busy, very", "meta": {}, "extra": False},
]


def written(records=RECORDS, **options) -> str:
    stream = io.BytesIO()
    Output(stream, "mas.agent.list/1", OutputOptions(**options)).records(COLUMNS, records)
    return stream.getvalue().decode()


GOLDEN = {
    "table": """\
ID       LOAD  NOTE        ZONE
a           3  -           eu
tutor-2    12  busy, very  -
""",
    "json": (
        '[{"id":"a","load":3,"note":null,"meta":{"zone":"eu"},"extra":true},'
        '{"id":"tutor-2","load":12,"note":"busy, very","meta":{},"extra":false}]\n'
    ),
    "jsonl": (
        '{"id":"a","load":3,"note":null,"meta":{"zone":"eu"},"extra":true}\n'
        '{"id":"tutor-2","load":12,"note":"busy, very","meta":{},"extra":false}\n'
    ),
    "yaml": """\
- id: a
  load: 3
  note: null
  meta:
    zone: eu
  extra: true
- id: tutor-2
  load: 12
  note: busy, very
  meta: {}
  extra: false
""",
    "csv": 'id,load,note,meta.zone\na,3,,eu\ntutor-2,12,"busy, very",\n',
    "name": "a\ntutor-2\n",
}


@pytest.mark.parametrize("name", list(Format))
def test_a_list_in_every_format(name):
    """Byte for byte."""
    assert GOLDEN[name] == written(format=Format(name))


@pytest.mark.parametrize("name", [Format.JSON, Format.YAML, Format.JSONL, Format.CSV, Format.NAME])
def test_colour_never_reaches_documents(name):
    """A painted palette changes tables only."""
    assert GOLDEN[name] == written(format=name, palette=Palette(enabled=True))
    assert "\x1b[" in written(palette=Palette(enabled=True))


def test_an_empty_list_is_an_empty_list():
    """[] in JSON, a header in CSV, nothing in a table."""
    assert written([], format=Format.JSON) == "[]\n"
    assert written([], format=Format.JSONL) == ""
    assert written([], format=Format.TABLE) == ""
    assert written([], format=Format.CSV) == "id,load,note,meta.zone\n"


def test_columns_choose_and_order():
    """In tables and, as fields, in JSON; any field of the records can be named."""
    assert written(columns="extra,id") == "EXTRA  ID\nyes    a\nno     tutor-2\n"
    assert json.loads(written(columns="meta.zone", format=Format.JSON)) == [
        {"meta.zone": "eu"},
        {"meta.zone": None},
    ]
    with pytest.raises(UsageError) as raised:
        written(columns="laod")
    assert raised.value.details["closest"] == ["load"]
    with pytest.raises(UsageError):
        written(columns=",")


def test_headers_can_be_left_out():
    """In tables and CSV."""
    assert written(headers=False).startswith("a ")
    assert written(headers=False, format=Format.CSV).startswith("a,")


def test_an_envelope_names_the_schema():
    """Only at the top, and only when asked for."""
    enveloped = json.loads(written(format=Format.JSON, envelope=True))

    assert enveloped["schema"] == "mas.agent.list/1"
    assert enveloped["data"] == json.loads(GOLDEN["json"])
    assert written(format=Format.YAML, envelope=True).startswith("schema: mas.agent.list/1\n")


def test_only_a_terminal_cuts():
    """The widest free column gives way, cells never wrap, a pipe gets everything."""
    long = [{"id": "agent", "load": 1, "note": "x" * 100, "meta": {"zone": "eu"}}]

    shown = written(long, width=40).splitlines()

    assert all(len(line) <= 40 for line in shown)
    assert shown[1].split()[2].endswith("…")
    assert "x" * 100 in written(long)


def test_one_thing_is_an_object():
    """Fields for people, one object for programs."""
    stream = io.BytesIO()
    for format_ in (Format.TABLE, Format.JSON, Format.CSV, Format.NAME):
        Output(stream, "s", OutputOptions(format=format_)).record(COLUMNS[:2], RECORDS[0])

    assert stream.getvalue().decode() == (
        "id    a\nload  3\n" + json.dumps(RECORDS[0], separators=(",", ":")) + "\nid,load\na,3\na\n"
    )


def test_a_stream_is_written_item_by_item():
    """Each item is flushed; headers come once; widths are those of the columns."""
    stream = io.BytesIO()
    out = Output(stream, "s", OutputOptions())
    columns = (Column("id", width=8), Column("load", kind="number"))
    out.event(columns, RECORDS[0], first=True)
    out.event(columns, RECORDS[1])

    assert stream.getvalue().decode() == "ID        LOAD\na            3\ntutor-2     12\n"


def test_a_stream_on_a_terminal_keeps_its_columns():
    """Whatever comes later, every row stands below the headers and fits; the last column takes what is left."""
    columns = (
        Column("time", kind="clock", width=9),
        Column("from", width=8, flexible=True),
        Column("why", flexible=True),
    )
    times = ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:06Z")
    stream = io.BytesIO()
    out = Output(stream, "s", OutputOptions(width=40, utc=True))
    for index, (sender, why) in enumerate((("a", "no"), ("somebody-else", "long " * 20))):
        out.event(columns, {"time": times[index], "from": sender, "why": why}, first=index == 0)

    header, first, second = stream.getvalue().decode().splitlines()
    assert (header.index("FROM"), header.index("WHY")) == (11, 21)
    assert first == "03:04:05Z  a         no"
    assert second.startswith("03:04:06Z  somebod…  long long")
    assert len(second) == 40


def test_a_column_that_always_says_the_same_is_left_out():
    """Of tables only, and not when it was asked for."""
    columns = (Column("id"), Column("kind", usual="message"))
    usual, other = {"id": "a", "kind": "message"}, {"id": "b", "kind": "frame"}

    def shown(*records, **options):
        stream = io.BytesIO()
        Output(stream, "s", OutputOptions(**options)).records(columns, records)
        return stream.getvalue().decode()

    assert shown(usual) == "ID\na\n"
    assert shown(usual, other) == "ID  KIND\na   message\nb   frame\n"
    assert shown(usual, columns="id,kind") == "ID  KIND\na   message\n"
    assert shown(usual, format=Format.CSV) == "id,kind\na,message\n"


def test_a_closed_pipe_is_told_apart():
    """Writing to a reader that has gone is an event of its own."""

    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError

    with pytest.raises(OutputClosed):
        Output(Closed(), "s", OutputOptions()).records(COLUMNS, RECORDS)


def test_unknown_formats_are_refused():
    """The error lists what there is."""
    assert parse_format("JSON") is Format.JSON
    with pytest.raises(UnknownFormat, match="xml"):
        parse_format("xml")


@pytest.mark.parametrize(
    ("when", "environ", "terminal", "painted"),
    [
        (None, {}, True, True),
        (None, {}, False, False),
        (None, {"NO_COLOR": "1"}, True, False),
        (None, {"NO_COLOR": ""}, True, True),
        (None, {"FORCE_COLOR": "1"}, False, True),
        (None, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        (None, {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
        ("auto", {}, True, True),
    ],
)
def test_when_colour_is_used(when, environ, terminal, painted):
    """--color wins over NO_COLOR, FORCE_COLOR, TERM and the terminal."""
    assert painted is palette_for(when, terminal, environ).enabled


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "0.0123s"), (4, "4s"), (75, "1m 15s"), (3600, "1h"), (7800, "2h 10m"), (356_400, "4d 3h")],
)
def test_durations_read_naturally(seconds, text):
    """Two units at most."""
    assert duration(seconds) == text


def test_times_are_local_or_relative_or_utc():
    """`age` says how long ago, `time` says when; --utc makes both exact."""
    now = datetime(2026, 1, 31, 12, 0, 4, tzinfo=UTC)
    text = "2026-01-31T12:00:00Z"

    assert cell(text, "age", now=now) == "4s ago"
    assert cell(text, "age", utc=True) == cell(text, "time", utc=True) == "2026-01-31 12:00:00Z"
    assert cell(text, "time") == f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"
    assert cell("never", "time") == "never"


def test_a_narrow_table_keeps_numbers_and_times_whole():
    """What gives way is text; of times of today the date goes first."""
    now = datetime.now(UTC)
    columns = (
        Column("seq", kind="number"),
        Column("time", kind="time"),
        Column("key_id", whole=True),
        Column("sender"),
        Column("reason", flexible=True),
    )
    row = {
        "seq": 123456789,
        "time": now.isoformat(),
        "key_id": "0123456789abcdef",
        "sender": "s" * 30,
        "reason": "r" * 30,
    }

    def lines(width, time=None):
        record = row | ({"time": time} if time else {})
        stream = io.BytesIO()
        options = OutputOptions(width=width, utc=True)
        Output(stream, "", options).records(columns, [record])
        return stream.getvalue().decode().splitlines()

    clock, day = f"{now:%H:%M:%S}Z", f"{now:%Y-%m-%d}"
    assert lines(200)[1].split()[1:3] == [day, clock]
    narrow = lines(60)[1]
    assert len(narrow) <= 60
    assert narrow.split()[:3] == ["123456789", clock, "0123456789abcdef"]
    old = lines(70, "2020-01-31T09:30:00.000Z")[1]
    assert old.split()[1:4] == ["2020-01-31", "09:30:00Z", "0123456789abcdef"]


def test_what_a_server_of_agents_is_fits_80_columns():
    """Nothing of its name, state and address is cut."""
    ends = (datetime.now(UTC) + timedelta(hours=23, minutes=58, seconds=30)).isoformat()
    record = {"id": "server-7f3a9c21", "state": "draining", "address": "127.0.0.1:7443", "up": 86_000.0,
              "agents": 128, "connections": 130, "refused": 17, "certificate_ends": ends, "host": "h" * 40,
              "pid": 12345, "alarms": []}  # fmt: skip
    stream = io.BytesIO()
    Output(stream, "s", OutputOptions(width=80)).records(SERVER_COLUMNS, [record])
    text = stream.getvalue().decode()

    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_status_of_a_certificate_is_not_cut_in_80_columns():
    """Its long number gives way."""
    record = {"name": "the-planner-of-all", "kind": "authority", "status": "untrusted", "serial": "5f" * 20,
              "expires": "2031-11-22T13:00:00.000Z", "path": "/srv/mas/.mas/certs/agents/a.pem"}  # fmt: skip
    stream = io.BytesIO()
    Output(stream, "s", OutputOptions(width=80)).records(CERTIFICATE_COLUMNS, [record])
    (shown,) = stream.getvalue().decode().splitlines()[1:]

    assert shown.split()[:3] == ["the-planner-of-all", "authority", "untrusted"]
    assert len(shown) <= 80
