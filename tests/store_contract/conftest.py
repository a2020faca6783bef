"""Each behaviour of the store is shown on the in-process fake, on a real server, and on a Cluster."""

import pytest
import pytest_asyncio

from mas_core.store.memory import forget_memory
from mas_core.store.store import Store


@pytest.fixture(params=["memory", "server", "cluster"])
def store_url(request, own_namespace):
    """URL of each of them."""
    if request.param == "memory":
        url = f"memory://{own_namespace}"
        yield url
        forget_memory(url)
    elif request.param == "cluster":
        yield request.getfixturevalue("cluster").url
    else:
        yield request.getfixturevalue("server_url")


@pytest_asyncio.fixture
async def store(store_url, own_namespace):
    """An empty store of two partitions."""
    async with Store(store_url, namespace=own_namespace, partitions=2) as opened:
        yield opened
