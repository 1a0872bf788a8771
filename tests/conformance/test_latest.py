"""Readers that are behind in a namespace without a schema: the latest, or all, or 4108."""

from collections import Counter

import msgspec
import pytest

from broker.transports import writer

from .client import connect
from .engines import both_engines
from .rawsocket import CLOSE, TEXT, frame, shake_hands, text

pytestmark = both_engines

TOPICS = ["workflow.price", "workflow.load", "workflow.level"]
KEYS = ["k", "l"]
NAMES = [(topic, key) for topic in TOPICS for key in KEYS]
EVENTS = 6000
LARGE = "x" * 2000  # so that all of them are more than any socket buffer holds


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    """The readers here answer no pings: let the broker find that out sooner."""
    monkeypatch.setattr(writer, "PATIENCE", 0.05)


@pytest.fixture
async def site(start):
    """`workflow` tells slow readers the latest, and retains little."""
    return await start(
        namespaces={
            "workflow": {"options": {"slow_reader": "latest"}, "history": {"events": 100}},
        }
    )


async def flood(site, count=EVENTS):
    """So many events, numbered, in turns on each topic and key. Returns the last of each."""
    last = {}
    async with connect(site.server("bas")) as publisher:
        for first in range(0, count, 200):
            batch = []
            for number in range(first, min(first + 200, count)):
                topic, key = NAMES[number % len(NAMES)]
                last[topic, key] = number
                batch.append({"op": "publish", "topic": topic, "key": key, "body": [number, LARGE]})
            batch[-1]["id"] = publisher.id()
            await publisher.send(*batch)
            await publisher.acked(batch[-1]["id"])
    return last


def subscribe(topic="workflow.>", **wishes):
    return text({"op": "subscribe", "id": 1, "topic": topic, **wishes})


async def behind(raw, **wishes):
    await raw.send(subscribe(**wishes))
    await raw.get("subscribed")


async def test_the_last_of_each_and_how_many_were_left_out(site, bystander):
    """Told and counted make all that was published; in a stream, in its order."""
    async with shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow:
        await behind(slow)
        last = await flood(site)
        told, seen, numbers = Counter(), {}, dict.fromkeys(KEYS, -1)
        dropped, announced = 0, {}
        while seen != last:
            message = await slow.next()
            name = message["topic"], message["key"]
            if message["op"] == "dropped":
                assert message.keys() == {"op", "topic", "key", "count"}
                announced[name] = message["count"]
                dropped += message["count"]
                continue
            number = message["body"][0]
            told[name] += announced.pop(name, 0) + 1
            before = number // len(NAMES) + 1
            assert told[name] == before, "told and left out, up to this one of its topic and key"
            assert number > numbers[name[1]], "out of order in its stream"
            numbers[name[1]] = number
            seen[name] = number
        assert sum(told.values()) == EVENTS
        assert dropped, "it was not behind at all"
        assert not announced


async def test_it_is_up_to_date_again(site):
    """After that it is told everything, as before."""
    async with shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow:
        await behind(slow)
        last = await flood(site)
        left = dict(last)
        while left:
            message = await slow.get("event")
            name = message["topic"], message["key"]
            if left.get(name) == message["body"][0]:
                del left[name]
        async with connect(site.server("bas")) as publisher:
            for number in range(50):
                await publisher.publish(TOPICS[0], number, key="k")
        assert [(await slow.next())["body"] for _ in range(50)] == list(range(50))


async def test_who_keeps_up_gets_everything(site, codec):
    """No event is left out, and nothing is announced."""
    async with (
        connect(site.server("bas"), codec) as reader,
        connect(site.server("bas"), codec) as publisher,
    ):
        await reader.subscribe("workflow.>")
        for number in range(500):
            topic, key = NAMES[number % len(NAMES)]
            await publisher.publish(topic, number, key=key)
        messages = await reader.barrier()
        assert [m["op"] for m in messages] == ["event"] * 500
        assert [m["body"] for m in messages] == list(range(500))


async def test_a_stream_without_a_key(site, codec):
    """`dropped` names no key where there is none."""
    async with (
        connect(site.server("bas"), codec, max_queue=1) as slow,
        connect(site.server("bas")) as publisher,
    ):
        await slow.subscribe("workflow.>")
        for number in range(0, EVENTS, 100):
            batch = [
                {"op": "publish", "topic": TOPICS[0], "body": [n, LARGE]}
                for n in range(number, number + 100)
            ]
            batch[-1]["id"] = publisher.id()
            await publisher.send(*batch)
            await publisher.acked(batch[-1]["id"])
        told = dropped = 0
        while told + dropped < EVENTS:
            message = await slow.next()
            assert "key" not in message
            dropped += message.get("count", 0)
            told += message["op"] == "event"
        assert message["body"][0] == EVENTS - 1
        assert dropped


async def closed(raw):
    """The numbers that came, and the close code."""
    numbers = []
    while True:
        opcode, payload = await raw.read_frame()
        if opcode == CLOSE:
            return numbers, int.from_bytes(payload[:2], "big")
        if opcode == TEXT:
            whole = msgspec.json.decode(payload)
            messages = whole if isinstance(whole, list) else [whole]
            assert {m["op"] for m in messages} <= {"event", "goodbye"}
            numbers += [m["body"][0] for m in messages if m["op"] == "event"]


async def test_who_refuses_that_gets_each_or_4108(site, bystander):
    """`coalesce: never` where the latest is the rule: no gap and no `dropped`, up to its end."""
    async with shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow:
        await behind(slow, coalesce="never")
        await flood(site)
        numbers, code = await closed(slow)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) < EVENTS
        assert code == 4108


async def test_by_default_nothing_is_lost(start):
    """The default: everything, late, however slow it is read."""
    site = await start(heartbeat={"interval": 60.0})
    async with shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow:
        await behind(slow)
        await flood(site)
        got = {key: [] for key in KEYS}
        for _ in range(EVENTS):
            message = await slow.next()
            assert message["op"] == "event"
            got[message["key"]].append(message["body"][0])
        for index, key in enumerate(KEYS):
            assert got[key] == list(range(index, EVENTS, len(KEYS)))


async def test_by_default_it_ends_when_history_does(start, bystander):
    """What is not retained any more cannot be told late: 4108, after what came before."""
    site = await start(namespaces={"workflow": {"history": {"events": 100}}})
    async with shake_hands(site.address, "/ws/bas", receive_buffer=4096) as slow:
        await behind(slow)
        await flood(site)
        numbers, code = await closed(slow)
        for index in range(len(KEYS)):
            mine = [n for n in numbers if n % len(KEYS) == index]
            assert mine == list(range(index, index + len(mine) * len(KEYS), len(KEYS)))
        assert code == 4108
        slow.send_now(frame(CLOSE, payload=(1000).to_bytes(2, "big")))
