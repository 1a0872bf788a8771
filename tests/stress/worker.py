"""A worker that is to be killed: ``python -m stress.worker``. It answers from when it is ready
on, or very soon."""

import asyncio
import sys
from zlib import crc32

import uvloop

from plugins.agent.client import Turn, connect
from plugins.agent.worker import Message, Worker

from .backend import AT_ONCE, PAUSE
from .processes import ready
from .run import quiet
from .words import word

MOST = 300


def tokens_of(message_id: str) -> int:
    """How many tokens the answer to a message has."""
    return 1 + crc32(message_id.encode()) % MOST


async def main(url: str) -> None:
    """Answer each message by its own words, at a pace."""
    helper = Worker("helper")

    @helper.on_message
    async def answer(message: Message, turn: Turn) -> None:
        for index in range(tokens_of(message.message_id)):
            if index % AT_ONCE == 0:
                await asyncio.sleep(PAUSE)
            await turn.token(word(message.message_id, index))

    async with connect(url) as client:
        ready()
        await helper.run(client)


if __name__ == "__main__":
    quiet()
    uvloop.run(main(sys.argv[1]))
