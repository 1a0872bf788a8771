"""Bounds on what is kept: streams, events and bytes come and go, and nobody notices."""

import asyncio

import pytest

from .agent import CHAT, completed, started, token
from .client import PATIENCE, connect
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


async def test_what_has_ended_is_compacted(start, codec):
    """A while after its end a turn is told without its tokens; nobody goes on from within it."""
    site = await start(namespaces={"agent.chat": {"options": {"compact_after": 0.01}}})
    async with connect(site.ws, codec) as peer, asyncio.timeout(PATIENCE):
        await peer.subscribe(CHAT + ">", key="s")
        await peer.publish(CHAT + "turnStarted", started())
        for n in range(20):
            await peer.publish(CHAT + "token", token(n, f"{n} "))
        text = "".join(f"{n} " for n in range(20))
        await peer.publish(CHAT + "turnCompleted", completed(text=text))
        cursors = [event["cursor"] for event in await peer.events(22)]
        told: list[str] = []
        while told != ["turnStarted", "turnCompleted"]:
            events, _ = await peer.replay(CHAT + ">", key="s", replay="history")
            told = [event["topic"].removeprefix(CHAT) for event in events]
        for number, recovered, count in ((0, True, 1), (9, False, 2), (20, True, 1), (21, True, 0)):
            id = await peer.ask("subscribe", topic=CHAT + ">", key="s", after=cursors[number])
            assert (await peer.get("subscribed", id=id))["recovered"] is recovered
            end = await peer.get("replayed", id=id)
            assert end["cursor"] == cursors[-1]
            got = [m for m in await peer.barrier() if m.get("sub") == id]
            assert [m["body"].get("fullText") for m in got] == [None, text][2 - count :]
