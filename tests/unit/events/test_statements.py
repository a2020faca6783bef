"""The statements of the event store in the words of other databases."""

import pytest
from sqlalchemy.dialects import mssql, postgresql, sqlite
from sqlalchemy.schema import CreateTable

from mas_core.events import tables
from mas_core.events.query import EventQuery

DIALECTS = {
    "mssql": mssql.dialect(deprecate_large_types=True),
    "postgresql": postgresql.dialect(),
    "sqlite": sqlite.dialect(),
}
QUERY = EventQuery("order.*", "t.x", ["s"], since=1, until=2)
NEWEST = EventQuery(newest_first=True)

GOLDEN = {
    "mssql": [
        "UPDATE event_head SET seq=event_head.seq WHERE event_head.one = 1",
        (
            "SELECT TOP 5 events.seq, events.body FROM events WHERE events.seq > 7 AND events.seq <= 9 "
            "AND events.time >= 1 AND events.time < 2 AND events.source IN ('s') "
            "AND (events.type LIKE 'order.' + '%' ESCAPE '/') AND events.topic = 't.x' ORDER BY events.seq"
        ),
        (
            "SELECT TOP 5 events.seq, events.body FROM events WHERE events.seq > 0 AND events.seq <= 9 "
            "ORDER BY events.seq DESC"
        ),
    ],
    "postgresql": [
        "UPDATE event_head SET seq=event_head.seq WHERE event_head.one = 1",
        (
            "SELECT events.seq, events.body FROM events WHERE events.seq > 7 AND events.seq <= 9 "
            "AND events.time >= 1 AND events.time < 2 AND events.source IN ('s') "
            "AND (events.type LIKE 'order.' || '%%' ESCAPE '/') AND events.topic = 't.x' "
            "ORDER BY events.seq LIMIT 5"
        ),
        (
            "SELECT events.seq, events.body FROM events WHERE events.seq > 0 AND events.seq <= 9 "
            "ORDER BY events.seq DESC LIMIT 5"
        ),
    ],
}


@pytest.mark.parametrize("name", GOLDEN)
def test_statements_say_the_same_everywhere(name):
    """Taking turns, and pages from both ends."""
    statements = [tables.take_turn(), tables.page(QUERY, 7, 9, 5), tables.page(NEWEST, 0, 9, 5)]

    assert [_text(statement, name) for statement in statements] == GOLDEN[name]


def test_names_are_compared_byte_by_byte_on_sql_server():
    """Its usual collation takes `A` for `a`, and texts are not cut at 4,000 characters."""
    text = _text(CreateTable(tables.EVENTS), "mssql")

    assert "type VARCHAR(256) COLLATE Latin1_General_BIN2 NOT NULL" in text
    assert "body NVARCHAR(max) NOT NULL" in text


@pytest.mark.parametrize("name", DIALECTS)
def test_every_table_and_statement_compiles(name):
    """For each database that is named in the documents."""
    statements = [
        *(CreateTable(table) for table in tables.metadata.sorted_tables),
        tables.known(["a", "b"]),
        tables.trim(1, 2),
        tables.least_position(),
        *tables.replace_snapshot("a", 1, b"x"),
        *tables.drop_consumer("a"),
        tables.move_position("a", 3),
        tables.has_head(),
    ]

    assert all(str(statement.compile(dialect=DIALECTS[name])) for statement in statements)


def _text(statement, name):
    options = {} if isinstance(statement, CreateTable) else {"literal_binds": True}
    compiled = str(statement.compile(dialect=DIALECTS[name], compile_kwargs=options))
    return " ".join(compiled.replace("[", "").replace("]", "").split())
