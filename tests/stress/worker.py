"""A worker in a process of its own, to be killed: ``python -m stress.worker``."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from zlib import crc32

import uvloop

from plugins.agent.client import Turn, connect
from plugins.agent.worker import Message, Worker

from .backend import AT_ONCE, PAUSE
from .run import ROOT, quiet
from .words import word

MOST = 300


def tokens_of(message_id: str) -> int:
    """How many tokens the answer to a message has."""
    return 1 + crc32(message_id.encode()) % MOST


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[Process]:
    """A process that answers, from now on or very soon."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stress.worker", url), cwd=ROOT / "tests", stdout=PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
        print("ready", flush=True)
        await helper.run(client)


if __name__ == "__main__":
    quiet()
    uvloop.run(main(sys.argv[1]))
