"""A reader that is cut off in the middle of a turn: each event once, in order, and its end."""

import random
from typing import Any

import pytest
from client.test_publish import no_wait

from broker.client import Client, Event, Subscription, connect
from plugins.agent.client import AgentClient
from plugins.agent.client import connect as connect_agent

from .proxy import AtByte, AtFrame, Count, Judge, Proxy, never, proxied
from .test_publishing import speak

CHAT = "agent.chat."


def told(event: Event) -> tuple[str, Any]:
    return event.topic, {**event.body, "sessionId": "s"}


async def whole(events: Subscription) -> list[tuple[str, Any]]:
    """All of one turn."""
    turn = []
    while not turn or turn[-1][0] != CHAT + "turnCompleted":
        event = await anext(events)
        assert not event.after_gap
        turn.append(told(event))
    return turn


class Trial:
    """Turns that are read through a proxy, while they are spoken."""

    def __init__(self, proxy: Proxy, agent: AgentClient) -> None:
        self.proxy = proxy
        self.agent = agent
        self.expected: list[tuple[str, Any]] = []
        self._count = 0

    async def read(self, *judges: Judge, codec: Any = "msgpack", subscriptions: int = 1) -> None:
        """Whatever the judges say of the first connections, everybody is told everything."""
        self._count += 1
        session = f"s{self._count}"
        left = list(judges)
        self.proxy.judge = lambda: left.pop(0) if left else never
        url = self.proxy.url("/ws/chat")
        async with connect(url, wait=True, random=no_wait, codec=codec) as reader:
            all_of_it = [self._subscribe(reader, session, n) for n in range(subscriptions)]
            await speak(self.agent, session, arrays=False)
            for events in all_of_it:
                turn = await whole(events)
                self.expected = self.expected or turn
                assert turn == self.expected

    @staticmethod
    def _subscribe(reader: Client, session: str, number: int) -> Subscription:
        """The same events, under a pattern of its own."""
        pattern = ["agent.chat.*", "agent.chat.>", "agent.*.*"][number]
        return reader.subscribe(pattern, session, replay="history", coalesce="never")


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_cut_at_every_message_boundary(site: Any, codec: Any) -> None:
    """Behind each frame that comes, and inside of the next one, once and again."""
    async with proxied(site.broker.port) as proxy, connect_agent(site.ws) as agent:
        trial = Trial(proxy, agent)
        count = Count()
        await trial.read(count, codec=codec)
        for number in range(count.frames["down"]):
            for more in (0, 5):
                cuts = [AtFrame("down", number, more), AtFrame("down", number + 1, more)]
                await trial.read(cuts[0], codec=codec)
                await trial.read(*cuts, codec=codec)


@pytest.mark.parametrize("seed", range(4))
async def test_cut_at_random_bytes(site: Any, seed: int) -> None:
    """Up to six connections in a row, each cut at a byte; one subscription, or two at once."""
    chance = random.Random(seed)
    async with proxied(site.broker.port) as proxy, connect_agent(site.ws) as agent:
        trial = Trial(proxy, agent)
        await trial.read()
        for number in range(25):
            cuts = [
                AtByte("down", round(chance.uniform(10, 70) ** 2))
                for _ in range(chance.randrange(1, 7))
            ]
            await trial.read(*cuts, subscriptions=1 + number % 2)
