"""Bounds on what is kept: streams, events and bytes come and go, and nobody notices."""

import pytest

from .client import connect
from .engines import both_engines

pytestmark = both_engines


def publish(id, key, body, **fields):
    return {"op": "publish", "id": id, "topic": "workflow.a", "key": key, "body": body, **fields}


@pytest.mark.parametrize("streams", [1, 3])
async def test_more_streams_than_are_kept(start, codec, streams):
    """Publishing to ever new streams goes on: each is accepted and delivered, in order."""
    site = await start(namespaces={"workflow": {"history": {"streams": streams}}})
    async with connect(site.server("bas"), codec) as peer, connect(site.ws) as bystander:
        await bystander.subscribe("agent.status")
        await peer.subscribe("workflow.>")
        await peer.send(*[publish(n, f"k{n % 7}", n) for n in range(2, 102)])
        await peer.acked(101)
        assert [e["body"] for e in await peer.events(100)] == list(range(2, 102))
        for n in range(20):
            await peer.publish("workflow.a", n, key=f"k{n % 5}")
            assert (await peer.get("event"))["body"] == n
        await bystander.publish("agent.status", {"agentId": "a", "status": "online"})
        await bystander.get("event")


async def test_fewer_bytes_than_one_event(start):
    """An event larger than the whole history is delivered all the same."""
    site = await start(namespaces={"workflow": {"history": {"bytes": 1000, "events": 2}}})
    async with connect(site.server("bas")) as peer:
        await peer.subscribe("workflow.>")
        for n in range(10):
            await peer.publish("workflow.a", f"{n}" * 2000)
            assert (await peer.get("event"))["body"] == f"{n}" * 2000


async def test_a_name_is_free_again_once_its_event_is_gone(start):
    """`dedupe` holds while the first is retained."""
    site = await start(namespaces={"workflow": {"history": {"events": 2}}})
    async with connect(site.server("bas")) as peer:
        await peer.subscribe("workflow.>")
        for n, name in enumerate(["x", "y", "x", "z", "x"]):
            await peer.publish("workflow.a", n, dedupe=name)
        bodies = [m["body"] for m in await peer.barrier() if m["op"] == "event"]
        assert bodies == [0, 1, 3, 4]
