"""Those who speak: whole turns, as fast as they are let, over connections that are cut."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from plugins.agent.client import AgentClient, Turn, connect

from .words import text, word

SIDE_EVENTS = 50
"""About every so many tokens there is something else: a tool call, a thought, progress."""

BREATH = 64
"""After so many tokens, others have a turn, however much room there is."""


def hasty(chance: random.Random) -> Callable[[], float]:
    """A client's chance, so that it comes back soon: its waits are a fiftieth of the usual."""
    return lambda: chance.random() / 50


def agent(url: str, chance: random.Random, **options: Any) -> AgentClient:
    """A backend's client."""
    codec = chance.choice(["json", "msgpack"])
    return connect(url, random=hasty(chance), wait=True, codec=codec, **options)


class Said:
    """What was said in a session, turn by turn, and is accepted.

    Attributes:
        tokens: of each turn, how many, the empty last one not counted.
        events: how many publishes that took, in all.
        repairs: how many turns the broker had lost a part of.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, int] = {}
        self.events = 0
        self.repairs = 0

    def text(self, turn: str) -> str:
        return text(turn, self.tokens[turn])


async def speak(
    client: AgentClient,
    session: str,
    turn_id: str,
    count: int,
    chance: random.Random,
    said: Said,
    pace: Callable[[int], Awaitable[None]] | None = None,
) -> None:
    """One turn of `count` tokens.

    Args:
        pace: called before each token; by default there is no pace.
    """
    async with client.turn(session, "agent", turn_id=turn_id, clock=lambda: 0.0) as turn:
        events = 1
        for index in range(count):
            if pace is not None:
                await pace(index)
            elif index % BREATH == 0:
                await asyncio.sleep(0)
            await turn.token(word(turn_id, index))
            events += 1
            if chance.random() * SIDE_EVENTS < 1:
                events += await _aside(turn, index, chance)
    said.tokens[turn_id] = count
    said.events += events + 2
    said.repairs += turn.delivery.repaired


async def _aside(turn: Turn, index: int, chance: random.Random) -> int:
    """Something else than a token. Returns how many events it took."""
    kind = chance.randrange(4)
    if kind == 0:
        async with turn.tool("search", {"q": index}, call_id=f"c{index}") as call:
            call.result(index)
        return 2
    if kind == 1:
        await turn.thinking(f"after {index}")
    elif kind == 2:
        await turn.progress(chance.randrange(101), f"{index}")
    else:
        await turn.action({"after": index})
    return 1
