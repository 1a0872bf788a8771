"""A flood of another namespace: ``python -m stress.flood``."""

import asyncio
import sys

import msgspec
import uvloop
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from .processes import ready
from .run import quiet

CONNECTIONS = 4
BATCH = 100
"""How many publishes are in one message."""


async def main(url: str) -> None:
    """Publish as fast as the broker reads, for ever."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(CONNECTIONS):
            tasks.create_task(_pour(url, f"run-{number}"))
        ready()


async def _pour(url: str, key: str) -> None:
    publish = {"op": "publish", "topic": "workflow.step", "key": key, "body": {"name": "build"}}
    message = msgspec.json.encode([publish] * BATCH).decode()
    protocol = Subprotocol("edgestream.v1.json")
    async with connect(url, subprotocols=[protocol], compression=None, max_queue=None) as socket:
        while True:
            await socket.send(message)


if __name__ == "__main__":
    quiet()
    uvloop.run(main(sys.argv[1]))
