"""A broker that is gone in the middle of a turn, and with it all that it had in memory."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from client.test_publish import no_wait
from sites import Site, running

from broker.client import Subscription, connect
from plugins.agent.client import connect as connect_agent
from plugins.agent.delivery import MAX_REPAIRS

from .account import Account
from .proxy import WAYS, AtByte, AtFrame, Count, Judge, Proxy, Way, never, proxied
from .test_publishing import WORDS, speak

TURN = "t"


class Succession:
    """Brokers, one after the other, at one address: none knows what the one before it knew.

    Attributes:
        agents, readers: the ways in. Whoever speaks is cut as its judges say; then there is
            the next broker.
    """

    def __init__(self, brokers: list[Site], agents: Proxy, readers: Proxy) -> None:
        self.agents = agents
        self.readers = readers
        self._brokers = brokers
        agents.on_cut = self._next

    def _next(self) -> None:
        if len(self._brokers) > 1:
            del self._brokers[0]
        self.agents.target = self.readers.target = self._brokers[0].broker.port
        self.readers.cut_all()


@asynccontextmanager
async def succession(*judges: Judge) -> AsyncIterator[Succession]:
    """As many brokers as there are judges, and one that stays."""
    left = list(judges)
    async with AsyncExitStack() as stack:
        brokers = [await stack.enter_async_context(running()) for _ in range(len(judges) + 1)]
        port = brokers[0].broker.port
        agents = await stack.enter_async_context(
            proxied(port, lambda: left.pop(0) if left else never)
        )
        readers = await stack.enter_async_context(proxied(port))
        yield Succession(brokers, agents, readers)


async def read(events: Subscription, account: Account) -> None:
    """Until the turn has ended, for good."""
    while TURN not in account.turns or account.turns[TURN].ending is None:
        account.take(await anext(events))


async def trial(*judges: Judge, arrays: bool, codec: Any = "msgpack") -> Account:
    """A turn that is spoken and read to its end, whatever becomes of its brokers."""
    async with (
        succession(*judges) as brokers,
        connect(brokers.readers.url("/ws/chat"), random=no_wait, wait=True) as reader,
    ):
        options = {"random": no_wait, "wait": True, "codec": codec}
        async with connect_agent(brokers.agents.url("/ws/chat"), **options) as agent:
            events = reader.subscribe("agent.chat.>", "s", replay="snapshot")
            await speak(agent, "s", arrays=arrays)
        account = Account("the reader")
        await read(events, account)
    told = account.turns[TURN]
    assert told.ending is not None
    assert told.ending.body["fullText"] == "".join(WORDS)
    assert told.ending.body["toolCallsUsed"] == ["search"]
    return account


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_gone_at_every_message_boundary(way: Way, arrays: bool) -> None:
    """Whatever it had acknowledged, and the next one has never heard of: the turn goes on."""
    count = Count()
    await trial(count, arrays=arrays)
    for number in range(count.frames[way]):
        await trial(AtFrame(way, number), arrays=arrays)
        if number:
            await trial(AtFrame(way, number), AtFrame(way, number), arrays=arrays)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_gone_at_random_bytes(seed: int, codec: str) -> None:
    """Up to four brokers in a row, each gone at a byte of either way."""
    chance = random.Random(seed)
    for _ in range(10):
        cuts = [
            AtByte(chance.choice(WAYS), round(chance.uniform(10, 60) ** 2))
            for _ in range(chance.randrange(1, 5))
        ]
        await trial(*cuts, arrays=chance.random() < 0.5, codec=codec)


async def test_gone_more_often_than_a_turn_is_repaired() -> None:
    """What counts is how often in a row a repair was of no use, however long the turn is."""
    cuts = [AtFrame("up", 10) for _ in range(2 * MAX_REPAIRS)]
    async with succession(*cuts) as brokers:
        url = brokers.agents.url("/ws/chat")
        async with connect_agent(url, random=no_wait) as agent, agent.turn("s", "a") as turn:
            while brokers.agents.cuts < len(cuts):
                await turn.token("word ")
                await agent.flush()
