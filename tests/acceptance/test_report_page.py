"""The report's page in a real browser: nothing loaded, nothing run, nothing cut, labels to be read."""

from __future__ import annotations

import pytest
from support.browser import browser
from support.report_samples import DAY, NOW, hostile, records, report_of

from mas_core.audit.report.facts import Proof
from mas_core.audit.report.page import page
from mas_core.model.audit_record import AuditRecord
from mas_core.model.decision import Finding

HOSTILE = (
    "</title></style><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    + "W" * 300
)

CONTRAST = """
(() => {
  const channel = value => (value /= 255) <= .03928 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
  };
  let worst = 99;
  for (const element of document.querySelectorAll('p, td, th, h1, h2, h3, h4, li, b, dd, dt, code, a')) {
    if (!element.innerText.trim()) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
    worst = Math.min(worst, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return worst;
})()
"""

LABELS = """
[...document.querySelectorAll('svg text')].filter(text => text.getClientRects().length).map(text => {
  const label = text.getBoundingClientRect(), plot = text.ownerSVGElement.getBoundingClientRect();
  return {
    text: text.textContent, height: label.height,
    inside: label.left >= plot.left - 1 && label.right <= plot.right + 1
      && label.top >= plot.top - 1 && label.bottom <= plot.bottom + 1,
  };
})
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A browser and the page of a report with gaps, silence, hostile names and a broken chain."""
    given = [item for item in records() if not NOW - 9 * DAY < item.time < NOW - 5 * DAY]
    given += [
        AuditRecord(
            1, NOW - number * DAY - 7, decision=decision, sender="billing", target="ledger", rule="r1"
        )
        for number in range(5)
        for decision in ("denied", "held", "rate_limited")
    ]
    given += [
        AuditRecord(1, NOW - DAY, decision="blocked", findings=(Finding("card", "pci", "/a", 0, 1, "block"),))
    ]
    broken = Proof(
        1, ok=False, records=9, verified_to=4, head="cd" * 32, first_bad=5, problem="record 5 was changed"
    )
    found = report_of([*given, *hostile(HOSTILE)], system=HOSTILE, proofs=(broken,))
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page(found))
    with browser() as window:
        window.look(width=1280)
        window.open(path)
        yield window


def test_the_page_loads_nothing_and_runs_nothing(opened):
    """What a record says stays text, and the browser has no complaint."""
    asked = [
        event["params"]["request"]["url"]
        for event in opened.events
        if event["method"] == "Network.requestWillBeSent"
    ]

    assert len(asked) == 1
    assert asked[0].startswith("file:")
    assert opened.ask("document.title").startswith("</title></style><script>")
    assert opened.ask("document.querySelectorAll('script, img').length") == 0
    assert not [
        event for event in opened.events if event["method"] in {"Log.entryAdded", "Runtime.exceptionThrown"}
    ]


@pytest.mark.parametrize("width", [1280, 768, 390, 320])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_wider_than_the_page_and_everything_can_be_read(opened, width, dark):
    """On a desk and on a phone, by day and by night: no sideways scrolling, contrast of WCAG AA."""
    opened.look(width=width, dark=dark)

    assert opened.ask("document.documentElement.scrollWidth <= innerWidth")
    assert opened.ask(
        "[...document.querySelectorAll('.scroll')].every(box => box.scrollWidth <= box.clientWidth + 1)"
    )
    assert opened.ask(CONTRAST) >= 4.5


@pytest.mark.parametrize("width", [1280, 390])
def test_plots_have_labelled_axes_that_fit(opened, width):
    """Each plot is drawn once for the width; its labels lie inside and are large enough."""
    opened.look(width=width)
    labels = opened.ask(LABELS)
    plots = opened.ask(
        "[...document.querySelectorAll('svg')].filter(plot => plot.getClientRects().length).length"
    )
    texts = [label["text"] for label in labels]

    assert plots == 3
    assert all(label["inside"] for label in labels), [label for label in labels if not label["inside"]]
    assert min(label["height"] for label in labels) >= 11
    assert {"messages", "findings"} <= set(texts)
    assert any(text.startswith("time, UTC; one bar is 1 day") for text in texts)


def test_silence_and_gaps_are_seen(opened):
    """A stretch without records is hatched, and the gaps stand before everything else."""
    opened.look(width=1280)

    assert opened.ask("document.querySelectorAll('.wide svg rect[fill^=url]').length") >= 1
    assert opened.ask("document.querySelector('h2').textContent") == "Gaps"
    assert opened.ask("document.querySelectorAll('#gaps ~ .gap').length") >= 2
    assert opened.ask("document.querySelector('.tiles .bad').innerText").startswith("broken")


def test_the_page_prints(opened):
    """On white, without navigation, several sheets."""
    opened.look(width=1280, dark=True, media="print")

    assert opened.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.ask("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert opened.paper().startswith(b"%PDF")
    opened.look(width=1280)


def test_the_page_shows_something(opened):
    """A picture of it is not one colour."""
    opened.look(width=1280)

    assert len(opened.picture(height=900)) > 20_000
