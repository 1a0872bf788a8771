"""Others than the broker, each in a process of its own: ``python -m stress.NAME``."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .run import ROOT


@asynccontextmanager
async def process(name: str, *words: object) -> AsyncIterator[Process]:
    """``stress.NAME`` with `words`, once it has said that it is ready; killed in the end."""
    found = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"stress.{name}", *map(str, words)),
        cwd=ROOT / "tests",
        stdin=PIPE,
        stdout=PIPE,
    )
    assert found.stdout is not None
    try:
        assert await found.stdout.readline() == b"ready\n"
        yield found
    finally:
        if found.returncode is None:
            found.kill()
            await found.wait()


def ready() -> None:
    """What such a process says."""
    print("ready", flush=True)
