"""A reader on a slow link: what is urgent overtakes the flood, whatever buffers lie between."""

import asyncio
from contextlib import asynccontextmanager

from broker.transports import writer

from .agent import CHAT, started, token
from .client import connect
from .rawsocket import shake_hands, text
from .throttle import LinkClock, throttled

TICK = 640
SECONDS = 0.01
"""What one tick passes on, in bytes, and how long that takes: 512 kbit/s."""

TOKENS = 6000
PIECE = "lorem ipsum dolor sit amet " * 9

AT_FIRST = 128 << 10
LATER = 64 << 10
"""How much of the flood may still come before an event that was published during it: when
the broker does not know the link yet, and when it does."""


def piece(index):
    return f"{index} {PIECE}"


async def flood(site, **options):
    """A turn of many tokens, acknowledged."""
    async with connect(site.ws, **options) as publisher:
        await publisher.publish(CHAT + "turnStarted", started())
        for first in range(0, TOKENS, 100):
            batch = [
                {"op": "publish", "topic": CHAT + "token", "body": token(index, piece(index))}
                for index in range(first, first + 100)
            ]
            batch[-1]["id"] = publisher.id()
            await publisher.send(*batch)
            await publisher.acked(batch[-1]["id"])


class Modem:
    """A reader behind a link of 512 kbit/s: what it got, and how much it took to get it."""

    def __init__(self, peer, link, clock):
        self.peer = peer
        self.link = link
        self.clock = clock
        self.urgent = {}  # by number: how many bytes had passed when it came
        self.text = []
        self.expected = 0
        self._reading = asyncio.create_task(self._read())

    async def _read(self):
        while True:
            event = await self.peer.get("event")
            body = event["body"]
            if event["topic"] == "workflow.urgent":
                self.urgent[body] = self.link.passed
                continue
            assert body["tokenIndex"] == self.expected
            self.expected += body.get("tokenCount", 1)
            self.text.append(body["token"])

    async def until(self, done):
        """Let the link pass bytes on until `done`; time passes as they do."""
        idle = 0
        while not done():
            assert not self._reading.done(), self._reading.result()
            if await self.link.tick(TICK):
                self.clock.now += SECONDS
                idle = 0
            else:
                idle += 1
                assert idle < 200_000, "nothing comes any more"
            await asyncio.sleep(0)

    async def get_urgent(self, publisher, number):
        """Publish an event, and tell how many bytes came until it did."""
        await publisher.publish("workflow.urgent", number)
        before = self.link.passed
        await self.until(lambda: number in self.urgent)
        return self.urgent[number] - before

    async def close(self):
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)


@asynccontextmanager
async def modem(site, clock, codec, **options):
    """A reader of the session's tokens and of `workflow`, on one connection."""
    async with throttled(site.address) as (address, made):
        opening = asyncio.create_task(_open(made))
        url = site.server(None).replace(site.address, address)
        async with connect(url, codec, **options) as peer:
            await peer.subscribe(CHAT + "token", key="s")
            await peer.subscribe("workflow.>")
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            reader = Modem(peer, await made, clock)
            try:
                yield reader
            finally:
                await reader.close()
                peer.socket.transport.abort()


async def _open(made):
    """Until the reader has subscribed, the link passes on what there is."""
    link = await made
    while True:
        await link.tick(TICK)
        await asyncio.sleep(0)


async def overtake(site, clock, codec, **options):
    """The flood waits; events of the other namespace do not wait for it."""
    async with (
        modem(site, clock, codec, **options) as reader,
        connect(site.server("bas"), **options) as publisher,
    ):
        await flood(site, **options)
        at_first = await reader.get_urgent(publisher, 0)
        await reader.until(lambda: reader.expected > TOKENS // 6)
        waits = []
        for number in range(1, 8):
            waits.append(await reader.get_urgent(publisher, number))
            target = reader.expected + TOKENS // 30
            await reader.until(lambda: reader.expected >= target)  # noqa: B023
        assert reader.expected < TOKENS, "there was no backlog any more"
        await reader.until(lambda: reader.expected == TOKENS)
        assert "".join(reader.text) == "".join(map(piece, range(TOKENS)))
        assert list(reader.urgent) == list(range(8))
        assert at_first <= AT_FIRST, at_first
        assert max(waits) <= LATER, waits


async def test_what_is_urgent_overtakes_a_flood(start, codec):
    """A workflow event comes long before the tokens that were published before it."""
    clock = LinkClock()
    await overtake(await start(clock=clock), clock, codec)


async def test_the_same_under_tls(start, identity):
    """What TLS buffers is under way too."""
    clock = LinkClock()
    site = await start(clock=clock, listen=identity.listen)
    await overtake(site, clock, "json", ssl=identity.trust)


async def test_who_answers_no_pings_is_overtaken_as_well(site, monkeypatch):
    """What its socket has not sent stays in the broker, where a flood can be overtaken."""
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    async with (
        shake_hands(site.address, "/ws", receive_buffer=16_384) as raw,
        connect(site.server("bas")) as publisher,
    ):
        await raw.send(text({"op": "subscribe", "id": 1, "topic": ">"}))
        await raw.get("subscribed")
        await flood(site)
        await publisher.publish("workflow.urgent", 1)
        came = 0
        while (event := await raw.get("event"))["topic"] != "workflow.urgent":
            came += len(event["body"].get("token", ""))
        assert came < TOKENS * len(PIECE) // 3


async def test_who_answers_no_pings_gets_everything(site, monkeypatch):
    """A client without pongs is no proper one; but all it costs it is a little patience."""
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    async with shake_hands(site.address) as raw:
        await raw.send(text({"op": "subscribe", "id": 1, "topic": CHAT + "token", "key": "s"}))
        await raw.get("subscribed")
        await flood(site)
        expected = 0
        while expected < TOKENS:
            body = (await raw.get("event"))["body"]
            assert body["tokenIndex"] == expected
            count = body.get("tokenCount", 1)
            assert body["token"] == "".join(map(piece, range(expected, expected + count)))
            expected += count
