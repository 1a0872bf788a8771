"""Publishing: acknowledgements, errors, names and ids."""

import asyncio
import socket

import pytest

from .client import connect
from .engines import both_engines
from .rawsocket import CLOSE, frame, shake_hands, text

pytestmark = both_engines


def publish(id, topic="workflow.a", body=None, **fields):
    """The operation as plain data; without an id where that is None."""
    named = {} if id is None else {"id": id}
    return {
        "op": "publish",
        "topic": topic,
        "body": {} if body is None else body,
        **named,
        **fields,
    }


async def answers(peer, up_to):
    """Every ack and error until the ack that covers `up_to`."""
    taken = []
    while not (taken and taken[-1]["op"] == "ack" and taken[-1]["id"] >= up_to):
        message = await peer.next()
        if message["op"] in ("ack", "error"):
            taken.append(message)
    return taken


async def test_a_publish_with_an_id_is_acknowledged(open_peer):
    """The ack has exactly the last id."""
    await open_peer.send(publish(7))
    assert await open_peer.next() == {"op": "ack", "id": 7}


async def test_a_publish_without_an_id_is_not(open_peer):
    """Without an id there is no ack, and an error carries none."""
    await open_peer.send(publish(None), publish(None, "nope.x"))
    error = await open_peer.next()
    assert (error["code"], "id" in error) == ("unknown_topic", False)
    assert not await open_peer.barrier()


async def test_acks_are_cumulative(open_peer):
    """A thousand publishes in one message end in an ack of the last; acks only grow."""
    await open_peer.send(*[publish(i) for i in range(1, 1001)])
    acks = [m["id"] for m in await answers(open_peer, 1000)]
    assert acks[-1] == 1000
    assert acks == sorted(set(acks))
    assert not await open_peer.barrier()


async def test_errors_come_before_the_acks_that_cover_them(peer):
    """Every refused id is named by an error that is sent before an ack reaches it."""
    bad = set(range(5, 200, 5))
    await peer.send(
        *[
            publish(i, "agent.status", {"agentId": "a", "status": "nope" if i in bad else "busy"})
            for i in range(1, 201)
        ]
    )
    await peer.send(publish(201, "agent.status", {"agentId": "a", "status": "busy"}))
    acked, named = 0, set()
    for message in await answers(peer, 201):
        if message["op"] == "ack":
            assert {i for i in bad if i <= message["id"]} <= named
            acked = message["id"]
        else:
            assert message["id"] > acked
            named.add(message["id"])
    assert named == bad


@pytest.mark.parametrize("last", ["refused", "accepted"])
async def test_an_ack_is_due_even_if_the_last_one_fails(peer, last):
    """A publisher learns the fate of each id, whichever comes last."""
    good = publish(1, "agent.status", {"agentId": "a", "status": "busy"})
    bad = publish(2, "agent.status", {"agentId": "a", "status": "nope"})
    pair = (good, bad) if last == "refused" else ({**bad, "id": 1}, {**good, "id": 2})
    await peer.send(*pair)
    refused = 2 if last == "refused" else 1
    assert (await peer.get("error"))["id"] == refused
    assert (await peer.get("ack"))["id"] >= 3 - refused


async def test_acks_wait_for_the_slowest_namespace(site, codec):
    """On one connection to two namespaces, an ack never covers what is not answered yet."""
    async with connect(site.server(None), codec) as peer, connect(site.server(None)) as watcher:
        await watcher.subscribe("workflow.>")
        await watcher.subscribe("agent.status")
        batch = []
        for i in range(1, 1201):
            if i % 3:
                batch.append(publish(i, "workflow.a", {"i": i}))
            elif i % 2:
                batch.append(publish(i, "agent.status", {"agentId": "a", "status": "wrong"}))
            else:
                batch.append(publish(i, "agent.status", {"agentId": str(i), "status": "busy"}))
        await peer.send(*batch)
        named, acks = set(), []
        while not acks or acks[-1] < 1200:
            message = await peer.next()
            if message["op"] == "error":
                assert not acks or message["id"] > acks[-1]
                named.add(message["id"])
            else:
                acks.append(message["id"])
                assert set(range(3, message["id"] + 1, 6)) <= named
        assert acks == sorted(set(acks))
        assert named == set(range(3, 1201, 6))
        assert len(await watcher.events(1000)) == 1000


async def test_dedupe_drops_a_repeat_and_acknowledges_it(open_peer):
    """The same name again in one stream is acknowledged, and not delivered."""
    await open_peer.subscribe("workflow.>")
    await open_peer.publish("workflow.a", {"n": 1}, dedupe="once", key="k")
    await open_peer.publish("workflow.b", {"n": 2}, dedupe="once", key="k")
    await open_peer.publish("workflow.a", {"n": 3}, dedupe="once", key="other")
    await open_peer.publish("workflow.a", {"n": 4}, dedupe="twice", key="k")
    assert [e["body"]["n"] for e in await open_peer.events(3)] == [1, 3, 4]
    assert not [m for m in await open_peer.barrier() if m["op"] != "ack"]


async def test_dedupe_holds_within_one_message(open_peer):
    """A repeat right behind its first, in one array, is a repeat all the same."""
    await open_peer.subscribe("workflow.>")
    await open_peer.send(*[publish(i, body={"n": i}, dedupe="once") for i in range(2, 6)])
    await open_peer.acked(5)
    events = [m for m in await open_peer.barrier() if m["op"] == "event"]
    assert [e["body"]["n"] for e in events] == [2]


async def test_dedupe_is_shared_by_publishers(site, open_peer):
    """A name belongs to the stream: another connection's repeat is dropped too."""
    async with connect(site.server("bas")) as second:
        await second.subscribe("workflow.>")
        await open_peer.publish("workflow.a", 1, dedupe="once")
        await second.publish("workflow.a", 2, dedupe="once")
        assert [m["body"] for m in await second.barrier() if m["op"] == "event"] == [1]


async def test_a_refused_publish_does_not_take_its_name(open_peer):
    """After an error, the same dedupe name is still free."""
    await open_peer.subscribe("workflow.>")
    assert await open_peer.refused("workflow.a", {}, key="", dedupe="n")
    await open_peer.publish("workflow.a", {"n": 1}, dedupe="n")
    assert (await open_peer.get("event"))["body"] == {"n": 1}


async def test_ids_grow(open_peer):
    """An id that does not grow is `bad_message`, for every operation of one space."""
    for first, second in ((5, 5), (6, 4), (2**63 - 1, 7)):
        await open_peer.send({"op": "ping", "id": first}, publish(second))
        assert await open_peer.next() == {"op": "pong", "id": first}
        error = await open_peer.next()
        assert (error["op"], error["code"]) == ("error", "bad_message")
    assert not await open_peer.barrier()


async def test_what_is_refused_for_its_id_is_not_published(open_peer):
    """A publish under an old id reaches nobody."""
    await open_peer.subscribe("workflow.>")
    await open_peer.publish("workflow.a", {"n": 1})
    await open_peer.send(publish(1, body={"n": 2}))
    await open_peer.get("error", code="bad_message")
    await open_peer.publish("workflow.a", {"n": 3})
    assert [e["body"]["n"] for e in await open_peer.events(2)] == [1, 3]


async def test_ids_are_positive_integers(open_peer):
    """Anything else is `bad_message`, and the connection goes on."""
    for id in (0, -1, 2**63, 1.5, "1", True, None, [1], {}):
        await open_peer.send({**publish(None), "id": id})
        assert (await open_peer.next())["code"] == "bad_message", id
    assert not await open_peer.barrier()


async def test_null_fields_are_bad(open_peer):
    """An optional field is left out, never null."""
    for field in ("topic", "key", "id", "dedupe"):
        await open_peer.send({**publish(1), "key": "k", "dedupe": "d", field: None})
        assert (await open_peer.next())["code"] == "bad_message", field
    assert not await open_peer.barrier()


async def test_missing_fields_are_bad_and_the_id_is_named(open_peer):
    """An operation without a field that it needs is answered under its id."""
    for id, field in ((1, "topic"), (2, "body")):
        whole = publish(id)
        del whole[field]
        await open_peer.send(whole)
        error = await open_peer.next()
        assert (error["code"], error["id"]) == ("bad_message", id)
    assert not await open_peer.barrier()


async def test_bad_keys(open_peer):
    """A key has 1 to 255 bytes of UTF-8 and no control characters."""
    for key in ("", "a\nb", "\x00", "\x1f", "\x7f", "\x85", "x" * 256, "ü" * 128):
        error = await open_peer.refused("workflow.a", {}, key=key)
        assert error["code"] == "bad_message", key


async def test_good_keys(open_peer):
    """Every other string is a key, and comes back unchanged."""
    for key in ("x", "x" * 255, "ü" * 127, "a b", "🙂", "%", "a.b.*.>", "null"):
        await open_peer.subscribe("workflow.>", key=key)
        await open_peer.publish("workflow.a", {}, key=key)
        assert (await open_peer.get("event"))["key"] == key


async def test_an_empty_key_stays_bad_once_there_are_events_without_a_key(open_peer):
    """The empty key is no name for the stream of events without a key."""
    await open_peer.publish("workflow.a", {})
    assert (await open_peer.refused("workflow.a", {}, key=""))["code"] == "bad_message"


async def test_events_without_a_key_have_none(open_peer):
    """Where the publisher gives no key, the event has no key field."""
    await open_peer.subscribe("workflow.>")
    await open_peer.publish("workflow.a", {})
    event = await open_peer.get("event")
    assert "key" not in event
    assert event["cursor"]
    assert isinstance(event["time"], int)


async def test_too_large_bodies_are_refused_alone(start, codec):
    """A body over its namespace's limit is `too_large`; one at the limit is not."""
    site = await start(namespaces={"workflow": {"max_body_bytes": 1000}})
    async with connect(site.server("bas"), codec) as peer:
        assert peer.welcome["limits"]["maxBodyBytes"] == {"workflow": 1000}
        error = await peer.refused("workflow.a", "x" * 1001)
        assert (error["code"], error["topic"]) == ("too_large", "workflow.a")
        await peer.publish("workflow.a", "x" * 990)


async def test_order_within_a_stream(site, codec):
    """Events of one stream arrive in the order of their acceptance, over all its topics."""
    async with connect(site.server("bas"), codec) as peer, connect(site.server("bas")) as reader:
        await reader.subscribe("workflow.>", key="k")
        for start in range(0, 900, 100):
            await peer.send(
                *[
                    publish(None, f"workflow.t{i % 7}", i, key="k")
                    for i in range(start, start + 100)
                ]
            )
        assert [e["body"] for e in await reader.events(900)] == list(range(900))


@pytest.mark.parametrize("goodbye", [frame(CLOSE, b"\x03\xe8"), b""], ids=["closes", "shuts down"])
async def test_what_was_sent_before_the_end_is_accepted(site, codec, goodbye):
    """Who says goodbye in order loses nothing, though it has not waited for a single ack."""
    count = 3000
    async with (
        connect(site.server("bas"), codec) as reader,
        shake_hands(site.address, "/ws/bas") as raw,
    ):
        await reader.subscribe("workflow.>")
        frames = [text(publish(n + 1, body=n)) for n in range(count)]
        sent = asyncio.create_task(raw.send(b"".join(frames) + goodbye))
        drained = asyncio.create_task(raw.rest())
        await sent
        if not goodbye:
            raw.sock.shutdown(socket.SHUT_WR)
        assert [e["body"] for e in await reader.events(count)] == list(range(count))
        await drained
