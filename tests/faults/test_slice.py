"""Every row of the fault table in small, and the table that comes of it; `make faults` runs the full numbers."""

import os
from pathlib import Path

import pytest

from tests.faults.__main__ import run_row
from tests.faults.outcome import table
from tests.faults.rows import all_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the harness needs Linux"),
]

ROWS = [row for row in all_rows().values() if row.slice]
SEED = int(os.environ.get("MAS_FAULTS_SEED", "5"))


@pytest.fixture(scope="session")
def outcomes(request):
    """What the rows came to; printed as a table at the end."""
    found = []
    yield found
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    reporter.ensure_newline()
    reporter.write_line(table(found))


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_no_promise_is_broken_under(row, outcomes):
    """Nothing lost, doubled, unaudited or undelivered."""
    outcome = run_row(row, row.slice, SEED, seconds=20, is_slice=True)
    outcomes.append(outcome)
    if outcome.skipped:
        pytest.skip(outcome.skipped)

    assert outcome.violations == 0, "\n".join([table([outcome]), *outcome.offending])
