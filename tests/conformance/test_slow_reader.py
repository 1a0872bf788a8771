"""A reader on a slow link: what is urgent overtakes the flood, whatever buffers lie between."""

from broker.transports import writer

from .agent import CHAT, started, token
from .client import connect
from .rawsocket import shake_hands, text

TOKENS = 6000
PIECE = "lorem ipsum dolor sit amet " * 9


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
