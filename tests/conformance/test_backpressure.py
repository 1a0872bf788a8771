"""Readers that do not read, publishers that do not listen: they alone pay for it."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from .agent import CHAT, started, token
from .client import connect
from .rawsocket import CLOSE, PING, TEXT, frame, shake_hands, text

TOKENS = 3000
PIECE = "lorem ipsum "  # repeated, so that the whole is more than any socket buffer holds


def piece(index):
    return f"{index} " + PIECE * 330


def publish(topic, body, **fields):
    return {"op": "publish", "topic": topic, "body": body, **fields}


async def say(publisher, count, session="s"):
    """A turn of `count` large tokens, acknowledged."""
    await publisher.publish(CHAT + "turnStarted", started(session=session))
    for first in range(0, count, 50):
        last = min(first + 50, count)
        batch = [
            publish(CHAT + "token", token(i, piece(i), session=session)) for i in range(first, last)
        ]
        last_id = publisher.id()
        await publisher.send(*batch[:-1], {**batch[-1], "id": last_id})
        await publisher.acked(last_id)


async def test_a_reader_that_stops_loses_no_text(site):
    """When it reads again, it gets every token, in order, in fewer and larger events."""
    async with (
        shake_hands(site.address, receive_buffer=4096) as slow,
        connect(site.ws) as neighbour,
        connect(site.ws) as publisher,
    ):
        await slow.send(text({"op": "subscribe", "id": 1, "topic": CHAT + "token", "key": "s"}))
        await slow.get("subscribed")
        await neighbour.subscribe(CHAT + "token", key="n")
        await say(publisher, TOKENS)
        await publisher.publish(CHAT + "turnStarted", started(session="n"))
        for index in range(20):  # the neighbour keeps up, and gets each at once and alone
            await publisher.publish(CHAT + "token", token(index, session="n"))
            assert (await neighbour.get("event"))["body"] == token(index, session="n")
        await publisher.publish(CHAT + "token", token(TOKENS, "end", last=True))
        expected, taken, whole, last = 0, 0, [], False
        while not last:
            event = await slow.get("event")
            body = event["body"]
            assert body["tokenIndex"] == expected
            assert event["cursor"]
            expected += body.get("tokenCount", 1)
            whole.append(body["token"])
            last = body["isLast"]
            taken += 1
        assert "".join(whole) == "".join(map(piece, range(TOKENS))) + "end"
        assert expected == TOKENS + 1
        assert taken < TOKENS


async def test_many_streams_wait_for_a_slow_reader(site):
    """Behind on several streams at once, each of them arrives whole and in order."""
    sessions = [f"s{n}" for n in range(5)]
    async with (
        shake_hands(site.address, receive_buffer=4096) as slow,
        connect(site.ws) as publisher,
    ):
        await slow.send(text({"op": "subscribe", "id": 1, "topic": CHAT + "*"}))
        await slow.get("subscribed")
        for session in sessions:
            await say(publisher, 600, session)
        got = {session: [] for session in sessions}
        count = dict.fromkeys(sessions, 0)
        while min(count.values()) < 600:
            event = await slow.get("event")
            if event["topic"] == CHAT + "token":
                body = event["body"]
                assert body["tokenIndex"] == count[event["key"]]
                count[event["key"]] += body.get("tokenCount", 1)
                got[event["key"]].append(body["token"])
            else:
                assert not got[event["key"]]
        whole = "".join(map(piece, range(600)))
        assert all("".join(parts) == whole for parts in got.values())


async def test_who_refuses_merging_is_closed_4108(site, bystander):
    """`coalesce: never`: each event alone and without a gap, until it is told to come back."""
    async with (
        shake_hands(site.address, receive_buffer=4096) as slow,
        connect(site.ws) as publisher,
    ):
        await slow.send(
            text({"op": "subscribe", "id": 1, "topic": CHAT + "token", "coalesce": "never"})
        )
        await slow.get("subscribed")
        await say(publisher, TOKENS)
        expected = 0
        while True:
            opcode, payload = await slow.read_frame()
            if opcode == CLOSE:
                break
            if opcode == TEXT and b'"event"' in payload[:20]:
                assert f'"token":"{expected} '.encode() in payload
                expected += payload.count(b'"op":"event"')
        assert int.from_bytes(payload[:2], "big") == 4108
        assert 0 < expected < TOKENS


async def test_the_first_that_never_reads_does_not_hold_the_second(site):
    """Stalled readers cost the others nothing: twenty of them, and one that reads."""
    async with (
        AsyncExitStack() as stalled,
        connect(site.ws) as reader,
        connect(site.ws) as publisher,
    ):
        for _ in range(20):
            raw = await stalled.enter_async_context(shake_hands(site.address, receive_buffer=4096))
            await raw.send(text({"op": "subscribe", "id": 1, "topic": CHAT + "token"}))
            await raw.get("subscribed")
        await reader.subscribe(CHAT + "token")
        await publisher.publish(CHAT + "turnStarted", started())
        for index in range(400):
            await publisher.publish(CHAT + "token", token(index, piece(index)))
            assert (await reader.get("event"))["body"] == token(index, piece(index))


FLOODS = {
    "bad messages": text(*[{"op": "x"}] * 90),
    "pings that are answered": text(*[{"op": "ping", "id": 1}] + [{"op": "ping"}] * 500),
    "subscribes": text(*[{"op": "subscribe", "id": 1, "topic": "nope.x"}] * 300),
    "refused publishes": text(*[publish("workflow.*", {})] * 300),
    "refused bodies": text(*[publish("workflow.a", {}, key="\n")] * 300),
    "control pings": frame(PING, b"x" * 125) * 300,
}


@pytest.mark.parametrize("name", FLOODS)
async def test_who_does_not_read_answers_is_not_read_from(site, bystander, name):
    """A connection that never reads cannot make the broker hold answers without bound."""
    flood = FLOODS[name]
    async with shake_hands(site.address, "/ws/bas", receive_buffer=4096) as raw:
        sent, blocked, rest = 0, 0, flood
        while blocked < 30:
            taken = raw.send_now(rest)
            rest = rest[taken:] or flood
            sent += taken
            blocked = 0 if taken else blocked + 1
            assert sent < 48 << 20, "it was read from without bound"
            if not taken:
                assert not await bystander.barrier()


async def test_a_full_namespace_loses_nothing(start, codec):
    """A publisher that is too fast is slowed, and everything it said is accepted in order."""
    site = await start(namespaces={"workflow": {"queue": {"messages": 5, "bytes": 500}}})
    async with (
        connect(site.server("bas"), codec) as publisher,
        connect(site.server("bas")) as second,
        connect(site.server("bas")) as reader,
        connect(site.ws) as chat,
    ):
        await reader.subscribe("workflow.>")
        await chat.subscribe("agent.status")
        for first in range(0, 2000, 40):
            await publisher.send(*[publish("workflow.a", n) for n in range(first, first + 40)])
            await second.send(*[publish("workflow.b", n) for n in range(first, first + 40)])
        await chat.publish("agent.status", {"agentId": "a", "status": "online"})
        await publisher.publish("workflow.a", "end")
        await second.publish("workflow.b", "end")
        got = {"workflow.a": [], "workflow.b": []}
        while "end" not in got["workflow.a"] or "end" not in got["workflow.b"]:
            event = await reader.get("event")
            got[event["topic"]].append(event["body"])
        assert got["workflow.a"] == got["workflow.b"] == [*range(2000), "end"]
        assert (await chat.get("event"))["body"]["agentId"] == "a"


async def test_one_flooded_namespace_leaves_the_other_alone(start):
    """On one connection per server, a backlog of one namespace is no matter to the other."""
    site = await start(namespaces={"agent.chat": {"queue": {"messages": 5}}})
    async with connect(site.ws) as flooder, connect(site.server("bas")) as quiet:
        await quiet.subscribe("workflow.>")
        await flooder.publish(CHAT + "turnStarted", started())
        for first in range(0, 3000, 100):
            await flooder.send(
                *[publish(CHAT + "token", token(i)) for i in range(first, first + 100)]
            )
        for n in range(20):
            await quiet.publish("workflow.a", n)
            assert (await quiet.get("event"))["body"] == n
        await flooder.publish(CHAT + "token", token(3000, last=True))


@pytest.mark.parametrize("at_once", [1, 100])
async def test_refusals_come_however_many_there_are(site, at_once):
    """Far more errors than are kept for one connection: it reads them, and gets them all."""
    count = 3000
    async with connect(site.ws) as peer:
        ops = [publish("nobodys.topic", {}, id=n + 1) for n in range(count)]

        async def say_all():
            for first in range(0, count, at_once):
                await peer.send(*ops[first : first + at_once])

        saying = asyncio.create_task(say_all())
        for n in range(count):
            assert (await peer.get("error"))["id"] == n + 1
        await saying
        await peer.publish(CHAT + "turnStarted", started())
