"""How a broker ends: what it holds is delivered, and everybody is told."""

import asyncio

import pytest

from .client import connect
from .rawsocket import shake_hands, text


async def test_goodbye_says_come_back(start, codec):
    """Every connection gets a goodbye with code, reason and `reconnect`, then 4100."""
    site = await start()
    async with connect(site.ws, codec) as one, connect(site.server(None), codec) as two:
        stopping = asyncio.create_task(site.broker.stop())
        for peer in (one, two):
            assert await peer.close_code() == 4100
            [goodbye] = peer.inbox
            assert (goodbye["op"], goodbye["code"], goodbye["reconnect"]) == ("goodbye", 4100, True)
            assert goodbye["reason"]
        await stopping


async def test_what_is_queued_is_delivered_first(start, codec):
    """Events that were accepted before the end reach their readers before goodbye."""
    site = await start()
    async with (
        connect(site.server("bas"), codec) as reader,
        connect(site.server("bas")) as publisher,
    ):
        await reader.subscribe("workflow.>")
        for first in range(0, 2000, 100):
            await publisher.send(
                *[{"op": "publish", "topic": "workflow.a", "body": n}
                  for n in range(first, first + 100)]
            )  # fmt: skip
        await publisher.publish("workflow.a", "end")
        stopping = asyncio.create_task(site.broker.stop())
        assert await reader.close_code() == 4100
        assert [m.get("body") for m in reader.inbox[:-1]] == [*range(2000), "end"]
        assert reader.inbox[-1]["op"] == "goodbye"
        assert await publisher.close_code() == 4100
        await stopping


async def test_a_slow_reader_gets_its_backlog_and_a_goodbye(start):
    """A reader that is behind when the broker stops is served to the end."""
    site = await start()
    async with (
        shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow,
        connect(site.server("bas")) as publisher,
    ):
        await slow.send(text({"op": "subscribe", "id": 1, "topic": "workflow.>"}))
        await slow.get("subscribed")
        for n in range(100):
            await publisher.publish("workflow.a", f"{n} " + "x" * 100_000)
        stopping = asyncio.create_task(site.broker.stop())
        for n in range(100):
            assert (await slow.get("event"))["body"].startswith(f"{n} ")
        assert (await slow.get("goodbye"))["code"] == 4100
        assert await slow.close_code() == 4100
        assert await publisher.close_code() == 4100
        await stopping


async def test_goodbye_comes_behind_what_the_socket_still_holds(start):
    """Also where the last event has left the queues, and waits in the socket's buffer."""
    site = await start(
        namespaces={"workflow": {"max_body_bytes": 12 << 20}},
        limits={"max_message_bytes": 12 << 20},
    )
    async with (
        shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow,
        connect(site.server("bas")) as publisher,
    ):
        await slow.send(text({"op": "subscribe", "id": 1, "topic": "workflow.>"}))
        await slow.get("subscribed")
        await publisher.publish("workflow.a", "x" * (8 << 20))
        await publisher.barrier()
        stopping = asyncio.create_task(site.broker.stop())
        assert await publisher.close_code() == 4100
        assert len((await slow.get("event"))["body"]) == 8 << 20
        assert (await slow.next())["op"] == "goodbye", "closed without one"
        assert await slow.close_code() == 4100
        await stopping


async def test_nobody_new_is_let_in(start):
    """A broker that has stopped takes no connection."""
    site = await start()
    address = site.ws
    await site.broker.stop()
    with pytest.raises(OSError, match=r".+"):
        async with connect(address):
            pass
