"""Trace contexts as texts, the ids that derive from messages, and where spans go."""

import pytest

from mas_core.model.trace_context import (
    TraceContext,
    context_in,
    implied_trace,
    is_taken,
    span_id_of,
    with_context,
)
from mas_core.settings.tracing import TracingSettings, TracingTarget, tracing_environment, tracing_target

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "is_sampled"),
    [(GOOD, True), (GOOD[:-1] + "0", False), (GOOD[:-2] + "03", True), (f"cc-{GOOD[3:]}-more", True)],
)
def test_a_context_is_read(text, is_sampled):
    """Version 00 as it is, later ones as far as they are known."""
    assert context_in({"traceparent": text}) == TraceContext(TRACE, SPAN, is_sampled)


@pytest.mark.parametrize(
    "text",
    ["", GOOD.upper(), GOOD + "-more", f"ff{GOOD[2:]}", GOOD.replace(TRACE, "0" * 32), GOOD.replace(SPAN, "0" * 16),
     GOOD + "\n", GOOD[:-1], "\x1b[31m", GOOD.replace("4", "٤")],
)  # fmt: skip
def test_what_is_not_well_formed_is_no_context(text):
    """As W3C Trace Context says."""
    assert context_in({"traceparent": text}) is None


def test_a_state_that_cannot_be_one_is_left_out():
    """It is passed on as it is, in so far as it is printable and of bounded length."""
    headers = with_context({"other": "kept"}, TraceContext(TRACE, SPAN, is_sampled=True, state="a=b"))
    assert headers == {"other": "kept", "traceparent": GOOD, "tracestate": "a=b"}
    assert context_in(headers).state == "a=b"
    assert context_in({**headers, "tracestate": "x" * 513}).state == ""
    assert context_in({**headers, "tracestate": "a=\x1b[31m"}).state == ""


def test_ids_derive_from_the_message():
    """The same for everybody who sees it; an answer belongs to the trace of what it answers."""
    own = implied_trace("alice", "m1")
    assert own == implied_trace("alice", "m1") != implied_trace("bob", "m1")
    assert implied_trace("bob", "m2", "alice", "m1") == own
    spans = {
        span_id_of(kind, "alice", "m1", part) for kind in ("send", "gateway", "handle") for part in (1, 2)
    }
    assert len(spans) == 6
    assert len(own) == 32


def test_a_share_is_sampled():
    """Nothing, all, and about as much as asked for."""
    traces = [implied_trace("alice", str(number)) for number in range(2_000)]
    assert not any(is_taken(trace, 0.0) for trace in traces)
    assert all(is_taken(trace, 1.0) for trace in traces)
    assert 350 < sum(is_taken(trace, 0.2) for trace in traces) < 450


def test_settings_win_over_the_variables_of_opentelemetry():
    """mas.yaml first, then the variables; OTEL_SDK_DISABLED and OTEL_TRACES_EXPORTER=none switch it off."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/", "OTEL_TRACES_SAMPLER_ARG": "0.25"}
    assert tracing_target(None, {}) is None
    assert tracing_target(None, environ) == TracingTarget("http://c:4318/v1/traces", 0.25)
    own = TracingSettings(endpoint="http://d:1", ratio=0.5)
    assert tracing_target(own, environ) == TracingTarget("http://d:1/v1/traces", 0.5)
    exact = {**environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://e/x", "OTEL_TRACES_SAMPLER_ARG": "much"}
    assert tracing_target(None, exact) == TracingTarget("http://e/x", 1.0)
    assert tracing_target(own, {"OTEL_SDK_DISABLED": "TRUE"}) is None
    assert tracing_target(own, {"OTEL_TRACES_EXPORTER": "none"}) is None
    assert tracing_environment(own, {}) == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d:1",
        "OTEL_TRACES_SAMPLER_ARG": "0.5",
    }
    assert tracing_environment(own, environ) == {}
