"""A turn whose publisher is cut off in the middle: no duplicate, no hole, and it ends."""

import asyncio
import random
from typing import Any

import pytest
from client.test_publish import no_wait
from conformance.client import Message, Peer
from conformance.client import connect as connect_peer

from plugins.agent.client import AgentClient, connect

from .proxy import WAYS, AtByte, AtFrame, Count, Judge, Proxy, Way, never, proxied

WORDS = ["Na", "mes", "paces", " keep", " floods", " a", "part", "."]
CHAT = "agent.chat."


async def speak(client: AgentClient, session: str, *, arrays: bool) -> None:
    """A turn with everything that a turn can have.

    With `arrays`, what is not waited for goes out together; otherwise one by one.
    """

    async def pause() -> None:
        if not arrays:
            await asyncio.sleep(0)  # the client sends in between

    async with client.turn(session, "a", turn_id="t", message_id="m", clock=lambda: 0.0) as turn:
        await turn.thinking("hm")
        await pause()
        await turn.progress(50, "half")
        await pause()
        async with turn.tool("search", {"q": "x"}, call_id="c") as call:
            await pause()
            call.result({"hits": 1})
        for number, word in enumerate(WORDS):
            await pause()
            await turn.token(word)
            if number == 3:
                await turn.action({"type": "change_theme", "value": "dark"})
        await pause()
        await turn.suggestions(["More?"])
        await pause()


async def stored(peer: Peer, session: str) -> list[tuple[str, Any]]:
    """What the broker has of a session."""
    events, _ = await peer.replay(CHAT + ">", key=session, replay="history", coalesce="never")
    return told(events)


def told(events: list[Message]) -> list[tuple[str, Any]]:
    return [
        (event["topic"].removeprefix(CHAT), {**event["body"], "sessionId": "s"}) for event in events
    ]


class Trial:
    """Turns through a proxy, each compared with one that nobody disturbed."""

    def __init__(self, proxy: Proxy, peer: Peer, **options: Any) -> None:
        self.proxy = proxy
        self.peer = peer
        self.options = {"random": no_wait, **options}
        self.expected: list[tuple[str, Any]] = []
        self._count = 0

    async def frames(self, *, arrays: bool) -> dict[Way, int]:
        """How many frames a turn takes that is not cut; what it says is `expected`."""
        count = Count()
        self.expected = await self._speak([count], arrays=arrays)
        assert [kind for kind, _ in self.expected].count("token") == len(WORDS) + 1
        return count.frames

    async def cut(self, *judges: Judge, arrays: bool) -> None:
        """The first connections are judged, one after the other; the last one is good."""
        assert await self._speak(list(judges), arrays=arrays) == self.expected

    async def _speak(self, judges: list[Judge], *, arrays: bool) -> list[tuple[str, Any]]:
        self._count += 1
        session = f"s{self._count}"
        self.proxy.judge = lambda: judges.pop(0) if judges else never
        url = self.proxy.url("/ws/chat")
        async with connect(url, wait=True, **self.options) as client:
            await speak(client, session, arrays=arrays)
        return await stored(self.peer, session)


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_cut_at_every_message_boundary(site: Any, way: Way, arrays: bool) -> None:
    """Behind each frame of either way, and inside of the next one; once, and twice in a row."""
    async with (
        proxied(site.broker.port) as proxy,
        connect_peer(site.ws) as peer,
    ):
        trial = Trial(proxy, peer)
        frames = await trial.frames(arrays=arrays)
        for number in range(frames[way]):
            for more in (0, 3):
                await trial.cut(AtFrame(way, number, more), arrays=arrays)
            await trial.cut(AtFrame(way, number), AtFrame(way, number), arrays=arrays)
        assert proxy.cuts > 3 * frames[way] - 3


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_cut_at_random_bytes(site: Any, seed: int, codec: str) -> None:
    """Up to four connections in a row, each cut at a byte of either way."""
    chance = random.Random(seed)
    async with (
        proxied(site.broker.port) as proxy,
        connect_peer(site.ws) as peer,
    ):
        trial = Trial(proxy, peer, codec=codec)
        await trial.frames(arrays=True)
        for _ in range(25):
            cuts = [
                AtByte(chance.choice(WAYS), round(chance.uniform(10, 70) ** 2))
                for _ in range(chance.randrange(1, 5))
            ]
            await trial.cut(*cuts, arrays=chance.random() < 0.5)
