"""Traces as a collector gets them: whose spans, in which order, below which, and what is never in them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys

import pytest
from support.collector import collector
from support.systems import live_system
from support.waiting import until

from mas_core import Agent
from mas_core.base.span_export import MAX_WAITING, SpanExporter
from mas_core.base.spans import Span
from mas_core.errors import Forbidden, PayloadBlocked
from mas_core.model.trace_context import context_in, trace_id_of
from mas_core.ops import trace
from mas_core.settings.tracing import TracingSettings

PAIRS = [("asker", "worker"), ("worker", "helper"), ("helper", "worker"), ("worker", "asker")]
AGENTS = ["asker", "worker", "helper"]
SECRET = "4111 1111 1111 1111"


class Worker(Agent):
    """Asks a helper before it answers, and tells it something."""

    @Agent.on("work.do")
    async def work(self, message, payload):
        await self.send("helper", "work.note", {"private": "of-the-payload"})
        return {"done": (await self.request("helper", "work.help", {})).data}

    @Agent.on("work.fail")
    async def fail(self, message, payload):
        raise RuntimeError("of-the-payload")


class Helper(Agent):
    """Answers, and keeps what it was told."""

    @Agent.on("work.help")
    async def help(self, message, payload):
        return {"helped": True}

    @Agent.on("work.note")
    async def note(self, message, payload):
        self.noted = message


@contextlib.asynccontextmanager
async def traced(server_url, monkeypatch, *, ratio=None, agents=True):
    """A system, a collector, and agents that export to it."""
    with collector() as found:
        tracing = TracingSettings(endpoint=found.url, ratio=ratio)
        if agents:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        if ratio is not None:
            monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", str(ratio))
        async with live_system(server_url, agents=AGENTS, allow=PAIRS, tracing=tracing) as running:
            yield running, found
            await flushed(found)


async def flushed(found):
    assert await asyncio.to_thread(SpanExporter.to(f"{found.url}/v1/traces").flush, 10)


async def test_a_trace_has_the_right_ids_from_the_sender_to_the_child(server_url, monkeypatch):
    """Sender, gateway, delivery, handler, child and reply are one trace, each below the step before it."""
    async with traced(server_url, monkeypatch) as (running, found):
        await running.run("helper", Helper)
        await running.run("worker", Worker)
        asker = await running.client("asker")
        await asker.request("worker", "work.do", {"number": SECRET[:4]}, message_id="the-request")
        await until(lambda: _handled(found, "handle work.note"))
        story = await trace.trace(running.system, "the-request")

    assert (
        {span.trace_id for span in found.spans} == {story.trace_id} == {trace_id_of("asker", "the-request")}
    )
    by_id = {span.span_id: span for span in found.spans}
    assert len(by_id) == len(found.spans)

    def path(span):
        return [*(path(by_id[span.parent_id]) if span.parent_id else []), (span.service, span.name)]

    way = [("asker", "request work.do"), (running.gateways[0].gateway_id, "gateway work.do"),
           ("worker", "deliver work.do"), ("worker", "handle work.do")]  # fmt: skip
    gateway = running.gateways[0].gateway_id
    assert path(found.named("handle work.do")) == way
    assert path(found.named("handle work.note")) == [
        *way, ("worker", "send work.note"), (gateway, "gateway work.note"),
        ("helper", "deliver work.note"), ("helper", "handle work.note"),
    ]  # fmt: skip
    assert path(found.named("deliver work.help.reply")) == [
        *way, ("worker", "request work.help"), (gateway, "gateway work.help"),
        ("helper", "deliver work.help"), ("helper", "handle work.help"),
        ("helper", "reply work.help.reply"), (gateway, "gateway work.help.reply"),
        ("worker", "deliver work.help.reply"),
    ]  # fmt: skip
    assert path(found.named("deliver work.do.reply"))[-3:] == [
        ("worker", "reply work.do.reply"), (gateway, "gateway work.do.reply"),
        ("asker", "deliver work.do.reply"),
    ]  # fmt: skip
    decided = found.named("gateway work.do")
    assert decided.begin_ns == story.began * 1_000_000
    assert [name for name, _ in decided.events] == [f"stage {name}" for name in story.stages_us]
    assert decided.end_ns == story.decided * 1_000_000 + sum(story.stages_us.values()) * 1000
    assert not any(b"of-the-payload" in body or SECRET[:4].encode() in body for body in found.bodies)


def _handled(found, name):
    SpanExporter.to(f"{found.url}/v1/traces").flush(5)
    return name in found.names()


async def test_what_fails_is_an_error_without_its_words(server_url, monkeypatch, caplog):
    """A handler's exception shows by its code, in the log with the trace; its text is nowhere."""
    async with traced(server_url, monkeypatch) as (running, found):
        await running.run("worker", Worker, retry=None)
        asker = await running.client("asker")
        with contextlib.suppress(Exception):
            await asker.request("worker", "work.fail", {})
        await until(lambda: _handled(found, "handle work.fail"))
    handled = found.named("handle work.fail")
    assert handled.error == "handler_failed"
    logged = [json.loads(line) for line in caplog.messages if "handler.failed" in line]
    assert [record["trace_id"] for record in logged] == [handled.trace_id]
    assert found.named("request work.fail").error == "agent_failed"
    assert not any(b"of-the-payload" in body for body in found.bodies)


async def test_refused_messages_are_always_traced(server_url, monkeypatch):
    """With a share of nothing only refusals are exported, with rule and findings and no digit of what was found."""
    async with traced(server_url, monkeypatch, ratio=0.0) as (running, found):
        await running.run("worker")
        asker = await running.client("asker")
        await asker.send("worker", "fine", {})
        with pytest.raises(PayloadBlocked):
            await asker.send("worker", "with.card", {"text": SECRET})
        with pytest.raises(Forbidden):
            await asker.send("helper", "to.nobody", {})
    assert found.names() == {"send with.card", "gateway with.card", "send to.nobody", "gateway to.nobody"}
    blocked = found.named("gateway with.card")
    assert blocked.is_error
    assert blocked.parent_id == found.named("send with.card").span_id
    assert blocked.attributes["mas.decision"] == "blocked"
    assert blocked.attributes["mas.findings"] == "card"
    assert not any(
        SECRET.replace(" ", "").encode() in body or SECRET.encode() in body for body in found.bodies
    )


async def test_the_gateway_alone_traces_agents_that_know_nothing_of_it(server_url, monkeypatch):
    """Agents without an exporter pass the trace on: child and reply are in the trace of the request."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    async with traced(server_url, monkeypatch, agents=False) as (running, found):
        helper = await running.run("helper", Helper)
        await running.run("worker", Worker)
        asker = await running.client("asker")
        await asker.request("worker", "work.do", {}, message_id="plain")
        await until(lambda: hasattr(helper, "noted"))
    assert {span.service for span in found.spans} == {running.gateways[0].gateway_id}
    assert {span.trace_id for span in found.spans} == {trace_id_of("asker", "plain")}
    first = found.named("gateway work.do")
    assert first.parent_id == ""
    assert found.named("gateway work.note").parent_id == first.span_id
    assert found.named("gateway work.do.reply").parent_id == first.span_id


async def test_a_trace_context_is_passed_on_without_any_export(server_url):
    """traceparent and tracestate of a sender reach the child of a handler and the records, without an exporter."""
    given = {
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate": "a=b,c=d",
    }
    async with live_system(server_url, agents=AGENTS, allow=PAIRS) as running:
        helper = await running.run("helper", Helper)
        await running.run("worker", Worker)
        asker = await running.client("asker")
        reply = await asker.request("worker", "work.do", {}, headers=given)
        await until(lambda: hasattr(helper, "noted"))
        assert (context_in(helper.noted.headers), helper.noted.headers) == (context_in(given), given)
        assert context_in(reply.headers) == context_in(given)
        assert {record.trace_id for record in await running.audit(kind="message")} == {
            context_in(given).trace_id
        }


async def test_a_span_of_the_program_is_the_parent(server_url, monkeypatch):
    """A span that is current where a message is sent is its parent; what a handler begins is below the handler."""
    from opentelemetry import trace as api
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("program")
    begun = []

    class Spanning(Agent):
        @Agent.on("work.do")
        async def work(self, message, payload):
            with tracer.start_as_current_span("inner") as inner:
                begun.append(inner)
                await self.send("helper", "work.note", {})

    async with traced(server_url, monkeypatch) as (running, found):
        await running.run("helper", Helper)
        await running.run("worker", Spanning)
        asker = await running.client("asker")
        with tracer.start_as_current_span("outer") as outer:
            await asker.send("worker", "work.do", {})
        await until(lambda: _handled(found, "handle work.note"))
    outer_id = outer.get_span_context()
    assert {span.trace_id for span in found.spans} == {api.format_trace_id(outer_id.trace_id)}
    assert found.named("send work.do").parent_id == api.format_span_id(outer_id.span_id)
    (inner,) = begun
    assert api.format_span_id(inner.parent.span_id) == found.named("handle work.do").span_id
    assert found.named("send work.note").parent_id == api.format_span_id(inner.get_span_context().span_id)


async def test_a_collector_that_is_gone_holds_nothing_up(server_url, monkeypatch):
    """Messages go on, and what was not exported is counted, also in the gateway's heartbeat."""
    async with traced(server_url, monkeypatch) as (running, found):
        await running.run("worker")
        asker = await running.client("asker")
        found.is_refusing = True
        receipts = await asker.send_many("worker", "x", [{}] * 50)
        assert all(receipt.decision.is_accepted for receipt in receipts)
        await flushed(found)
        dropped = SpanExporter.to(f"{found.url}/v1/traces").dropped
        assert dropped >= 100
        assert found.spans == []

        async def is_told():
            return any(gateway.spans_dropped >= 50 for gateway in await running.system.gateways())

        await until(is_told)


def span(number):
    return Span("x", "internal", "a", f"{number + 1:032x}", f"{number + 1:016x}", "", 1, 2)


def test_a_full_queue_drops_and_counts(monkeypatch):
    """What does not fit is dropped at once and counted; nothing waits for the collector."""
    exporter = SpanExporter("http://127.0.0.1:9/v1/traces")
    monkeypatch.setattr(exporter, "_work", lambda: None)
    assert exporter.put(lambda: [span(1)], MAX_WAITING)
    assert not exporter.put(lambda: [span(2)], 3)
    assert exporter.dropped == 3


def test_hostile_texts_are_cut_and_harmless():
    """What came off the wire is one line of bounded length, lone surrogates and escapes taken out."""
    with collector() as found:
        exporter = SpanExporter(f"{found.url}/v1/traces")
        hostile = span(1)
        hostile.attributes = {"a": "x" * 100_000, "b": "\x1b[31m\nred\ud800\u202e"}
        exporter.put(lambda: [hostile])
        assert exporter.flush(10)
    attributes = found.named("x").attributes
    assert len(attributes["a"]) == 256
    assert attributes["b"] == "�[31m�red��"


def test_nothing_is_imported_while_nothing_is_configured():
    """Neither the library nor a sent message imports an exporter; redis-py imports the rest by itself."""
    program = (
        "import sys, asyncio, mas_core\n"
        "from mas_core import Agent\n"
        "async def main():\n"
        "    async with Agent('a', redis_url='memory://') as a, Agent('b', redis_url='memory://') as b:\n"
        "        await a.send('b', 'x', {})\n"
        "asyncio.run(main())\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.exporter', 'requests'))])\n"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


async def test_a_trace_context_is_no_card(server_url):
    """Digits that a trace has by chance block nothing; a card in tracestate or another header does."""
    by_chance = "00-a4111111111111111bcdefabcdefabcd-4111111111111111-01"
    async with live_system(server_url, agents=AGENTS, allow=PAIRS) as running:
        await running.run("worker")
        asker = await running.client("asker")
        await asker.send("worker", "x", {}, headers={"traceparent": by_chance})
        for headers in (
            {"traceparent": f"{by_chance} "},
            {"traceparent": by_chance, "tracestate": f"a={SECRET}"},
        ):
            with pytest.raises(PayloadBlocked):
                await asker.send("worker", "x", {}, headers=headers)


async def test_spans_leave_by_themselves():
    """Nobody has to flush: what is put later leaves within a second or so."""
    with collector() as found:
        exporter = SpanExporter(f"{found.url}/v1/traces")
        for number in range(3):
            exporter.put(lambda number=number: [span(number)])
            await until(lambda number=number: len(found.spans) == number + 1)
        await until(lambda: exporter.exported == 3)


async def test_a_command_exports_its_spans_before_it_ends(server_url):
    """A process that sends one message and ends has exported its span."""
    program = (
        "import asyncio, sys\n"
        "from mas_core.agent.client import Client\n"
        "from mas_core.store.store import Store\n"
        "async def main(url, namespace, token):\n"
        "    async with Store(url, namespace=namespace) as store, Client(store, 'asker', token) as client:\n"
        "        await client.send('worker', 'x', {})\n"
        "asyncio.run(main(*sys.argv[1:]))\n"
    )
    async with live_system(server_url, agents=AGENTS, allow=PAIRS) as running:
        await running.run("worker")
        with collector() as found:
            words = (running.system.target.url, running.store.namespace, running.tokens["asker"])
            environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": found.url}
            done = await asyncio.create_subprocess_exec(sys.executable, "-c", program, *words, env=environ)
            assert await done.wait() == 0
            assert found.names() == {"send x"}
