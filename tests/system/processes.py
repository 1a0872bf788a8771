"""Brokers as processes of their own, from the shipped configuration file."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


@dataclass
class Running:
    """A broker that listens.

    Attributes:
        said: gives what it said on standard error, once it has ended.
    """

    process: Process
    port: int
    said: "asyncio.Task[tuple[bytes, bytes]]"

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def serving(*words: str, module: str = "broker", **environ: str) -> AsyncIterator[Running]:
    """`edgestream serve` with `words`, on a free port; in the end it stops in good order.

    It runs as `module`, where that is another way to start it.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "serve", "--port", "0", *words),
        cwd=ROOT,
        stderr=PIPE,
        env={**os.environ, "EDGESTREAM_LOGGING__FORMAT": "json", **environ},
    )
    try:
        async with asyncio.timeout(PATIENCE):
            port = await listening(process)
        rest = asyncio.create_task(process.communicate())
        yield Running(process, port, rest)
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(PATIENCE):
                await rest
            assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def listening(process: Process) -> int:
    """The port that it says it listens on, once it does. It logs as JSON."""
    assert process.stderr is not None
    said = []
    async for line in process.stderr:
        said.append(line.decode())
        event = json.loads(line) if line.startswith(b"{") else {}
        if event.get("event") == "listening":
            return int(event["port"])
    raise AssertionError("".join(said))
