"""A worker that answers many at once, at a pace: ``python -m stress.speaker``."""

import asyncio
import sys

import uvloop

from plugins.agent.client import Turn, connect
from plugins.agent.worker import Message, Worker

from .processes import ready
from .run import quiet
from .words import word


async def main(url: str, turns: int, tokens: int, rate: float) -> None:
    """Answer `turns` messages, once all of them have come: each by `tokens` words of the message's
    own, so many a second; a rate of 0 is as fast as they are let."""
    helper = Worker("helper", concurrency=turns)
    all_here = asyncio.Barrier(turns)

    @helper.on_message
    async def answer(message: Message, turn: Turn) -> None:
        await all_here.wait()
        clock = asyncio.get_running_loop().time
        began = clock()
        for index in range(tokens):
            # What is late is caught up with.
            due = began + index / rate if rate else 0
            await asyncio.sleep(max(0, due - clock()))
            await turn.token(word(message.text, index))

    async with connect(url) as client:
        ready()
        await helper.run(client)


if __name__ == "__main__":
    quiet()
    _, url, turns, tokens, rate = sys.argv
    uvloop.run(main(url, int(turns), int(tokens), float(rate)))
