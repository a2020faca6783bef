"""A process that sends as one agent until it is told to stop, and writes down what was acknowledged."""

import asyncio
import sys

from mas_core import Agent, MasError

WORKERS = 20
PAUSE_S = 0.05


async def main(name):
    """Send until standard input ends."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    with open(f"acknowledged-{name}.log", "w", buffering=1) as ledger:  # noqa: PTH123
        async with Agent(name) as agent:
            sys.stdout.write("ready\n")
            sys.stdout.flush()

            async def work():
                while not stop.is_set():
                    try:
                        receipt = await agent.send("receiver", "load.item", {"text": "x" * 100})
                    except MasError:
                        await asyncio.sleep(PAUSE_S)
                    else:
                        ledger.write(f"{receipt.message_id}\n")
                        await asyncio.sleep(PAUSE_S / 5)

            await asyncio.gather(*(work() for _ in range(WORKERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
