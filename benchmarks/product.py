"""One run of the product: a sending process, the gateways, a receiving process, and what each of them used."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.processes import module, worker
from benchmarks.workers.sender import SenderLaunch, SenderReport
from benchmarks.workplace import Front, Workplace
from mas_core.model.priority import LANES
from mas_core.ops.bench.figures import Spread, Use, spread
from mas_core.ops.bench.load import Load, Sent
from mas_core.ops.bench.receiving import receiving
from mas_core.ops.bench.send import SendResult, result_of


@dataclass(frozen=True, slots=True)
class ProductRun:
    """What one run gave."""

    result: SendResult
    to_handler: Spread
    gateway_us: float
    """Microseconds of processor time a message, of all gateways together."""
    server_us: float
    sender_us: float
    receiver_us: float
    messages_a_frame: float
    """Messages that a frame held on the average on their way to the gateway."""
    judged: float
    """Decisions a message: more than one where messages came again that a full inbox had turned back."""


class Incomplete(Exception):
    """Messages were lost, handled twice or refused, so the run does not count."""


async def run_product(
    place: Workplace, routes: Sequence[tuple[str, str]], load: Load, *, through: Front | None = None
) -> ProductRun:
    """Send a load over these routes and measure.

    Args:
        place: The system.
        routes: Pairs of sender and target.
        load: What is sent.
        through: The server of agents that both come through; they reach the store when left out.

    Raises:
        Incomplete: Not every message was handled once.
    """
    system = place.system
    url = place.url if through is None else through.url
    tls = {} if through is None else {name: through.tls_of(name) for route in routes for name in route}
    launch = SenderLaunch(
        url,
        system.store.namespace,
        system.store.partitions,
        tuple((sender, place.tokens[sender], target) for sender, target in routes),
        load,
        {name: (str(one.cert_path), str(one.key_path), str(one.ca_path)) for name, one in tls.items()},
    )
    targets = dict.fromkeys(target for _, target in routes)
    async with (
        receiving(
            system, [(name, place.tokens[name], ()) for name in targets], url=url, tls=tls
        ) as receivers,
        worker("the sender", module("benchmarks.workers.sender"), launch) as sender,
    ):
        frames, judged = await frames_taken(place), await messages_judged(place)
        gateway_s, server_s = place.gateway_cpu_s(), place.server_cpu_s()
        await sender.told(b"go")
        report = await sender.answered(SenderReport)
        sent = Sent(_times(report.sent), _times(report.receipts), report.refused, report.failed, report.cpu_s)
        received = await receivers.report(len(sent.accepted))
        gateway_s, server_s = place.gateway_cpu_s() - gateway_s, place.server_cpu_s() - server_s
        frames, judged = await frames_taken(place) - frames, await messages_judged(place) - judged
    count = max(1, len(sent.sent_ns))
    result = result_of(sent, received, Use(count, gateway_s, server_s))
    if not result.is_complete:
        raise Incomplete(
            f"{result.handled} of {result.sent} handled, {result.refused} refused, {result.failed} unconfirmed, "
            f"{result.lost} lost, {result.duplicated} twice"
        )
    handled_ns = received.handled_ns(count)
    return ProductRun(
        result,
        spread(handled - began for handled, began in zip(handled_ns, sent.sent_ns, strict=True)),
        gateway_s / count * 1e6,
        server_s / count * 1e6,
        sent.cpu_s / count * 1e6,
        received.cpu_s / count * 1e6,
        count / max(1, frames),
        judged / count,
    )


def _times(text: bytes) -> array[int]:
    times = array("q")
    times.frombytes(text)
    return times


async def frames_taken(place: Workplace) -> int:
    """Frames that were ever put into the ingress streams."""
    connection, keys = place.system.store.connection, place.system.store.keys
    total = 0
    for partition in range(place.partitions):
        for lane in LANES:
            key = keys.ingress(partition, lane)
            if await connection.call("EXISTS", key):
                fields = await connection.call("XINFO", "STREAM", key)
                if isinstance(fields, list):
                    fields = dict(zip(fields[::2], fields[1::2], strict=True))
                total += int(fields[b"entries-added"])
    return total


async def messages_judged(place: Workplace) -> int:
    """Records that the audit ever took: one for each decision, and a few of other events."""
    connection, keys = place.system.store.connection, place.system.store.keys
    numbers = [
        await connection.call("HGET", keys.meta(number), "audit_seq") for number in range(place.partitions)
    ]
    return sum(int(number or 0) for number in numbers)
