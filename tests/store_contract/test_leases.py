"""One owner a partition: the lease and its epoch."""

import asyncio

import pytest
from support.waiting import until

from mas_core.errors import InternalError
from mas_core.store.partitions import LeaseHeld

LEASE = 5_000


async def test_a_free_partition_is_taken_and_others_are_told_by_whom(store):
    """The first gets the lease and an empty meta; the second learns who has it and for how long."""
    partition = store.partition(0)

    meta = await partition.acquire("gw-a", "nonce-a", LEASE, "2")
    refused = await partition.acquire("gw-b", "nonce-b", LEASE, "2")

    assert (meta.epoch, meta.audit_seq, meta.cursors) == ("1", "", {"high": "", "normal": "", "low": ""})
    assert isinstance(refused, LeaseHeld)
    assert refused.owner == "gw-a"
    assert 0 < refused.remaining_ms <= LEASE


async def test_partitions_are_owned_apart(store):
    """A lease on one partition says nothing about another."""
    await store.partition(0).acquire("gw-a", "nonce-a", LEASE, "2")

    meta = await store.partition(1).acquire("gw-b", "nonce-b", LEASE, "2")

    assert not isinstance(meta, LeaseHeld)


async def test_of_many_that_try_at_once_one_gets_it(store):
    """The lease is decided in the store."""
    found = await asyncio.gather(
        *(store.partition(0).acquire(f"gw-{number}", f"n{number}", LEASE, "2") for number in range(20))
    )

    assert sum(not isinstance(item, LeaseHeld) for item in found) == 1


async def test_the_epoch_grows_with_every_owner(store):
    """Also when the same gateway comes back."""
    partition = store.partition(0)
    epochs = []
    for nonce in ("one", "two", "three"):
        epochs.append((await partition.acquire("gw-a", nonce, LEASE, "2")).epoch)
        assert await partition.renew(nonce, 0)

    assert epochs == ["1", "2", "3"]


async def test_a_lease_that_ran_out_can_be_taken(store):
    """Its old owner cannot renew it any more and finds no meta of its own."""
    partition = store.partition(0)
    await partition.acquire("gw-a", "nonce-a", 30, "2")

    async def taken():
        found = await partition.acquire("gw-b", "nonce-b", LEASE, "2", only_orphaned=True)
        return not isinstance(found, LeaseHeld)

    await until(taken)

    assert not await partition.renew("nonce-a", LEASE)
    assert await partition.read_meta("nonce-a") is None
    assert (await partition.read_meta("nonce-b")).epoch == "2"


async def test_a_renewed_lease_stays(store):
    """Renewing extends it from now; giving it up frees it at once."""
    partition = store.partition(0)
    await partition.acquire("gw-a", "nonce-a", 200, "2")

    assert await partition.renew("nonce-a", 60_000)
    held = await partition.acquire("gw-b", "nonce-b", LEASE, "2")
    assert held.remaining_ms > 50_000
    assert not await partition.renew("nonce-b", LEASE)
    assert await partition.renew("nonce-a", 0)

    assert not isinstance(await partition.acquire("gw-b", "nonce-b", LEASE, "2"), LeaseHeld)


async def test_who_wants_only_orphans_leaves_given_up_and_new_partitions_alone(store):
    """An owner that gave its lease up did so for somebody else."""
    partition = store.partition(0)

    never_owned = await partition.acquire("gw-b", "nonce-b", LEASE, "2", only_orphaned=True)
    await partition.acquire("gw-a", "nonce-a", LEASE, "2")
    await partition.renew("nonce-a", 0)
    given_up = await partition.acquire("gw-b", "nonce-b", LEASE, "2", only_orphaned=True)

    assert isinstance(never_owned, LeaseHeld)
    assert isinstance(given_up, LeaseHeld)


async def test_another_number_of_partitions_is_refused(store):
    """Agents would be looked for in the wrong place."""
    partition = store.partition(0)
    await partition.acquire("gw-a", "nonce-a", LEASE, "2")
    await partition.renew("nonce-a", 0)

    with pytest.raises(InternalError, match="layout of 2 partitions, not 4"):
        await partition.acquire("gw-b", "nonce-b", LEASE, "4")
