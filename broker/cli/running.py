"""What commands that talk to a broker have in common."""

import asyncio
import os
import signal
from argparse import ArgumentParser
from collections.abc import Coroutine

import uvloop

DEFAULT_URL = "ws://127.0.0.1:8080/ws"


def add_connection(parser: ArgumentParser) -> None:
    """The arguments that say which broker."""
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="where the broker is (default: %(default)s)"
    )


def token() -> str | None:
    """The bearer token, from the environment: an argument would show in a process list."""
    return os.environ.get("EDGESTREAM_TOKEN")


def run(work: Coroutine[None, None, int]) -> int:
    """Run `work`; SIGTERM cancels it, as Ctrl-C does.

    Raises:
        KeyboardInterrupt, asyncio.CancelledError: it was stopped.
    """
    return uvloop.run(_until_terminated(work))


async def _until_terminated(work: Coroutine[None, None, int]) -> int:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
