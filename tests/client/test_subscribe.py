"""Subscribing: which event is whose, backpressure, and what happens after a reconnect."""

import asyncio
import gc
from typing import Any

import pytest

from broker.client import (
    ClientClosed,
    ConnectionRefusedByBroker,
    Event,
    OperationRejected,
    Subscription,
    connect,
)
from broker.messages import (
    Ack,
    Dropped,
    Error,
    Replayed,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)

from .conftest import Time
from .stub import Stub, event, until
from .test_publish import no_wait


async def take(subscription: Subscription, count: int) -> list[Any]:
    """The numbers of the next `count` events."""
    return [(await anext(subscription)).body["n"] for _ in range(count)]


async def test_an_event_has_all_that_came_with_it(stub: Stub) -> None:
    """Topic, key, cursor, time, body; live, and after no gap."""
    async with connect(stub.url) as client, client.subscribe("open.*", "k") as events:
        await stub.peers[0].send(event("open.a", 1, key="k", cursor="c1"))
        assert await anext(events) == Event("open.a", "k", {"n": 1}, 0, "c1", False, False)


async def test_a_live_event_goes_to_each_subscription_that_matches(stub: Stub) -> None:
    """It comes once for the connection; topic, key and group say whose it is."""
    async with (
        connect(stub.url) as client,
        client.subscribe("open.>") as everything,
        client.subscribe("open.a", "k") as one,
        client.subscribe("open.b", "k") as other,
        client.subscribe("open.a", group="g") as worker,
    ):
        await stub.peers[0].send(
            event("open.a", 1, key="k"),
            event("open.a", 2, key="x"),
            event("open.a", 3, key="k", group="g"),
            event("open.b", 4, key="k"),
        )
        assert await take(everything, 3) == [1, 2, 4]
        assert await take(one, 1) == [1]
        assert await take(other, 1) == [4]
        assert await take(worker, 1) == [3]


async def test_a_replayed_event_is_for_its_subscription_alone(stub: Stub) -> None:
    """What answers one subscription is not seen by another of the same topic."""
    async with (
        connect(stub.url) as client,
        client.subscribe("open.a") as old,
        client.subscribe("open.>", "k") as new,
    ):
        await stub.peers[0].send(
            event("open.a", 1, key="k", sub=2), Replayed(2, "c1"), event("open.a", 2, key="k")
        )
        assert (await anext(new)).replayed
        assert await take(new, 1) == [2]
        assert await take(old, 1) == [2]


async def test_a_subscription_is_not_live_before_it_stands(stub: Stub) -> None:
    """An event before `subscribed` is in the replay: it must not come twice."""
    async with connect(stub.url) as client, client.subscribe("open.a"):
        peer = stub.peers[0]
        stub.held = True
        new = client.subscribe("open.>", replay="history")
        await peer.next(Subscribe)
        asked = await peer.next(Subscribe)
        await peer.send(
            event("open.a", 1), Subscribed(asked.id), event("open.a", 1, sub=asked.id), Replayed(2)
        )
        await peer.send(event("open.a", 2))
        assert await take(new, 2) == [1, 2]
        stub.held = False


async def test_a_subscription_is_not_live_before_its_replay_is_over(stub: Stub) -> None:
    """What another one of the connection still gets is told in the replay as well."""
    async with connect(stub.url) as client, client.subscribe("open.a") as old:
        peer = stub.peers[0]
        stub.held = True
        new = client.subscribe("open.>", replay="history")
        await peer.next(Subscribe)
        id = (await peer.next(Subscribe)).id
        replayed = [event("open.a", 1, sub=id), event("open.a", 2, sub=id)]
        await peer.send(Subscribed(id), event("open.a", 2), *replayed, Replayed(id))
        await peer.send(event("open.a", 3))
        assert await take(new, 3) == [1, 2, 3]
        assert await take(old, 2) == [2, 3]
        stub.held = False


async def test_a_replay_that_never_began_leaves_no_gap(stub: Stub, time: Time) -> None:
    """Cut before the first event of its replay, a subscription has missed nothing."""
    stub.held = True
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        events = client.subscribe("open.>", "k", replay="history")
        peer = await stub.peer()
        await peer.send(Subscribed((await peer.next(Subscribe)).id))
        peer.hang_up()
        peer = await stub.peer(1)
        id = (await peer.next(Subscribe)).id
        await peer.send(Subscribed(id), event("open.a", 1, key="k", sub=id), Replayed(id))
        assert not (await anext(events)).after_gap
        assert events.gaps == 0
        stub.held = False


async def test_a_refused_subscription_raises(stub: Stub) -> None:
    """The broker's error comes out of the iterator, and of `async with`."""
    stub.held = True
    async with connect(stub.url) as client:
        waiting = asyncio.create_task(anext(client.subscribe("nope")))  # type: ignore[arg-type]
        peer = await stub.peer()
        asked = await peer.next(Subscribe)
        await peer.send(Error("unknown_topic", "no such topic", False, id=asked.id))
        with pytest.raises(OperationRejected, match="unknown_topic"):
            await waiting


async def test_the_same_subscription_twice_is_refused_here(stub: Stub) -> None:
    """The broker would take the second for a change of the first."""
    async with connect(stub.url) as client:
        async with client.subscribe("open.a", "k"):
            with pytest.raises(ValueError, match="already"):
                client.subscribe("open.a", "k")
        async with client.subscribe("open.a", "k"):
            pass


async def test_leaving_a_loop_unsubscribes(stub: Stub) -> None:
    """A loop that is left by break leaves no subscription behind."""
    async with connect(stub.url) as client:
        await stub.peers[0].send()
        reading = asyncio.create_task(first(client.subscribe("open.a")))
        await stub.peers[0].next(Subscribe)
        await stub.peers[0].send(event("open.a", 1))
        assert await reading == 1
        gc.collect()
        assert (await stub.peers[0].next(Unsubscribe)).topic == "open.a"


async def first(subscription: Subscription) -> int:
    async for received in subscription:
        n: int = received.body["n"]
        break
    return n


async def test_unsubscribing_ends_the_iterator(stub: Stub) -> None:
    """Whoever still iterates stops, and what was buffered is gone."""
    async with connect(stub.url) as client:
        events = await client.subscribe("open.a").ready()
        waiting = asyncio.create_task(anext(events, None))  # type: ignore[arg-type]
        await events.unsubscribe()
        assert await waiting is None
        await events.unsubscribe()  # twice is once


async def test_a_full_buffer_stops_the_reading(stub: Stub) -> None:
    """With a slow consumer, the broker's writes come to a halt; nothing is lost."""
    async with connect(stub.url) as client, client.subscribe("open.a", buffer=10) as events:
        peer = stub.peers[0]
        total = 2000
        text = "x" * 10_000

        async def flood() -> None:
            for n in range(total):
                message = event("open.a", n)
                message.body["text"] = text
                await peer.send(message)

        flooding = asyncio.create_task(flood())
        assert await take(events, 1) == [0]
        await until(peer.connection.transport.get_write_buffer_size)
        assert not flooding.done()
        assert len(events._buffer) <= 11
        assert await take(events, total - 1) == list(range(1, total))
        await flooding


async def test_a_slow_consumer_can_still_wait_for_an_answer(stub: Stub) -> None:
    """The acknowledgement that a consumer waits for is behind more than its buffer holds."""
    stub.held = True
    async with connect(stub.url, max_in_flight=1) as client:
        events = client.subscribe("open.a", buffer=2)
        peer = await stub.peer()
        asked = await peer.next(Subscribe)
        await peer.send(Subscribed(asked.id))
        for n in range(10):
            await peer.send(event("open.a", n))
        assert await take(events, 1) == [0]
        receipt = await client.publish("open.a", {"n": 1})
        waiting = asyncio.create_task(client.publish("open.a", {"n": 2}))
        await peer.send(Ack(2))
        await waiting
        await receipt
        await peer.send(Ack(3))
        await client.flush()
        assert await take(events, 9) == list(range(1, 10))
        stub.held = False


async def test_one_stream_resumes_from_its_last_cursor(stub: Stub, time: Time) -> None:
    """After a cut it asks for what came after; recovered means no gap."""
    async with (
        connect(stub.url, sleep=time.sleep, random=no_wait) as client,
        client.subscribe("open.a", "k", replay="history") as events,
    ):
        await stub.peers[0].send(event("open.a", 1, key="k", cursor="c1"))
        await take(events, 1)
        stub.held = True
        stub.peers[0].cut()
        peer = await stub.peer(1)
        asked = await peer.next(Subscribe)
        assert (asked.after, asked.replay) == ("c1", "history")
        await peer.send(
            Subscribed(asked.id, recovered=True),
            event("open.a", 2, key="k", cursor="c2", sub=asked.id),
            Replayed(asked.id, "c2"),
        )
        resumed = await anext(events)
        assert (resumed.body, resumed.after_gap, events.gaps) == ({"n": 2}, False, 0)
        stub.held = False


async def test_a_gap_is_told(stub: Stub, time: Time) -> None:
    """recovered: false marks the next event, and counts."""
    async with (
        connect(stub.url, sleep=time.sleep, random=no_wait) as client,
        client.subscribe("open.a", "k") as events,
    ):
        await stub.peers[0].send(event("open.a", 1, key="k", cursor="c1"))
        await take(events, 1)
        stub.held = True
        stub.peers[0].cut()
        peer = await stub.peer(1)
        asked = await peer.next(Subscribe)
        await peer.send(
            Subscribed(asked.id, recovered=False), event("open.a", 3, key="k", sub=asked.id)
        )
        assert (await anext(events)).after_gap
        assert events.gaps == 1
        stub.held = False


async def test_a_subscription_to_many_streams_has_a_gap(stub: Stub, time: Time) -> None:
    """Without a key there is nothing to resume from: it is made again, and says so."""
    async with (
        connect(stub.url, sleep=time.sleep, random=no_wait) as client,
        client.subscribe("open.>") as events,
    ):
        stub.peers[0].cut()
        peer = await stub.peer(1)
        assert (await peer.next(Subscribe)).after is not None
        await until(lambda: events.live)
        await peer.send(event("open.a", 1, key="k", cursor="c1"), event("open.a", 2))
        assert [(await anext(events)).after_gap for _ in range(2)] == [True, False]


@pytest.mark.parametrize("code", ["bad_cursor", "bad_message"])
async def test_a_refused_cursor_falls_back(stub: Stub, time: Time, code: str) -> None:
    """Where a broker cannot resume, the subscription is made as at first, with a gap."""
    async with (
        connect(stub.url, sleep=time.sleep, random=no_wait) as client,
        client.subscribe("open.>", "k", replay="snapshot") as events,
    ):
        await stub.peers[0].send(event("open.a", 1, key="k", cursor="c1"))
        await take(events, 1)
        stub.held = True
        stub.peers[0].cut()
        peer = await stub.peer(1)
        asked = await peer.next(Subscribe)
        stub.held = False
        await peer.send(Error(code, "several streams", False, id=asked.id))
        again = await peer.next(Subscribe)
        assert again.replay == "snapshot"
        assert not again.after
        await until(lambda: events.live)
        await peer.send(event("open.a", 2, key="k"))
        assert (await anext(events)).after_gap


async def test_where_live_begins_is_a_cursor_too(stub: Stub, time: Time) -> None:
    """A cut before the first event resumes from `subscribed` or `replayed`."""
    stub.held = True
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        client.subscribe("open.a", "k")
        client.subscribe("open.b", "k")
        peer = await stub.peer()
        for topic in ("open.a", "open.b"):
            asked = await peer.next(Subscribe)
            assert asked.topic == topic
        await peer.send(Subscribed(1, "c1"), Subscribed(2), Replayed(2, "c2"))
        peer.hang_up()
        peer = await stub.peer(1)
        assert [(await peer.next(Subscribe)).after for _ in range(2)] == ["c1", "c2"]
        stub.held = False


async def test_an_unsubscribe_during_an_outage_is_done(stub: Stub, time: Time) -> None:
    """Nobody waits for an answer that cannot come."""
    async with connect(stub.url, sleep=time.sleep, random=no_wait) as client:
        events = await client.subscribe("open.a").ready()
        stub.held = True
        leaving = asyncio.create_task(events.unsubscribe())
        await stub.peers[0].next(Unsubscribe)
        stub.peers[0].cut()
        await leaving
        stub.held = False
        await client.publish("open.a", {"n": 1})
        await client.flush()
        assert not any(isinstance(m, Subscribe) for batch in stub.peers[1].batches for m in batch)


async def test_what_was_dropped_is_counted(stub: Stub) -> None:
    """A `latest` policy's losses show at the subscriptions that they concern."""
    async with (
        connect(stub.url) as client,
        client.subscribe("open.a") as mine,
        client.subscribe("open.b") as other,
    ):
        await stub.peers[0].send(Dropped("open.a", 3), event("open.a", 1))
        await take(mine, 1)
        assert (mine.dropped, other.dropped) == (3, 0)


async def test_a_close_by_the_user_ends_iterators_quietly(stub: Stub) -> None:
    """A loop over events ends when its client is closed; a new one is refused."""
    client = connect(stub.url)
    await client.__aenter__()
    events = await client.subscribe("open.a").ready()
    waiting = asyncio.create_task(anext(events, None))  # type: ignore[arg-type]
    await stub.peers[0].next(Subscribe)
    await client.close()
    assert await waiting is None
    with pytest.raises(ClientClosed):
        client.subscribe("open.b")


async def test_a_refusal_comes_out_of_iterators(stub: Stub) -> None:
    """When the broker will not have the client any more, every loop learns why."""
    async with connect(stub.url) as client:
        events = await client.subscribe("open.a").ready()
        await stub.peers[0].send(event("open.a", 1))
        await stub.peers[0].connection.close(4010, "superseded")
        assert await take(events, 1) == [1]
        with pytest.raises(ConnectionRefusedByBroker):
            await anext(events)


async def test_the_wish_travels(stub: Stub) -> None:
    """Every option of a subscription reaches the broker."""
    async with connect(stub.url) as client:
        client.subscribe(
            "open.a", "k", replay="snapshot", after="c", coalesce="never", rollup_ms=40
        )
        client.subscribe("open.a", group="g")
        one, two = [await stub.peers[0].next(Subscribe) for _ in range(2)]
        assert (one.key, one.replay, one.after) == ("k", "snapshot", "c")
        assert (one.coalesce, one.rollupMs) == ("never", 40)
        assert two.group == "g"


async def test_unsubscribed_names_the_subscription(stub: Stub) -> None:
    """The broker is told topic, key and group, and its answer is awaited."""
    async with connect(stub.url) as client:
        events = await client.subscribe("open.a", "k").ready()
        stub.held = True
        leaving = asyncio.create_task(events.unsubscribe())
        message = await stub.peers[0].next(Unsubscribe)
        assert (message.topic, message.key) == ("open.a", "k")
        assert not leaving.done()
        await stub.peers[0].send(Unsubscribed(message.id))
        await leaving
        stub.held = False


async def test_giving_up_on_a_subscription_leaves_none(stub: Stub) -> None:
    """Cancelled before the broker has confirmed it, it is given back."""
    stub.held = True
    async with connect(stub.url) as client:
        entering = asyncio.create_task(client.subscribe("open.a").__aenter__())
        await stub.peers[0].next(Subscribe)
        entering.cancel()
        assert (await stub.peers[0].next(Unsubscribe)).topic == "open.a"
        client.subscribe("open.a")
