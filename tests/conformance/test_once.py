"""A live event is sent exactly once."""

from .agent import CHAT, started, token
from .client import connect
from .engines import both_engines

pytestmark = both_engines


async def test_each_event_comes_once_however_slowly_they_come(site, codec):
    """Published one by one, each is delivered before the next, and none again with it."""
    async with connect(site.ws, codec) as reader, connect(site.ws) as publisher:
        await reader.subscribe(CHAT + "token")
        await publisher.publish(CHAT + "turnStarted", started())
        cursors = []
        for index in range(20):
            await publisher.publish(CHAT + "token", token(index, "x"))
            cursors += [m["cursor"] for m in await reader.barrier() if m["op"] == "event"]
        assert len(cursors) == len(set(cursors)) == 20
