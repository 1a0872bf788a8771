"""A backend in a process of its own, to be killed: ``python -m stress.backend``."""

import asyncio
import random
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import uvloop

from plugins.agent.client import connect

from .agents import Said, speak
from .processes import process, ready
from .run import chance_of, quiet

AT_ONCE = 10
PAUSE = 0.003
"""It says so many tokens, and pauses so many seconds: a turn takes a while, for it to die in."""


def turn_of(session: str) -> str:
    """The turn that it has in a session."""
    return f"{session}.0"


def backend(
    url: str, seed: int, tokens: int, sessions: Sequence[str]
) -> AbstractAsyncContextManager[Process]:
    """A process that speaks as soon as it is told to `go`, a turn in each session.

    Whoever is started with the same seed is the same: knows the same secrets, says the same.
    """
    return process("backend", url, seed, tokens, *sessions)


def go(process: Process) -> None:
    """Let it speak."""
    assert process.stdin is not None
    process.stdin.write(b"go\n")


async def main(url: str, seed: int, tokens: int, sessions: Sequence[str]) -> None:
    """Wait for the word, connect, and speak in all sessions at once."""
    ready()
    await asyncio.to_thread(sys.stdin.readline)
    async with asyncio.TaskGroup() as tasks:
        for session in sessions:
            tasks.create_task(_answer(url, session, chance_of(seed, session), tokens))


async def _answer(url: str, session: str, chance: random.Random, tokens: int) -> None:
    async with connect(url, client=f"the secret of {session}") as client:
        await speak(client, session, turn_of(session), tokens, chance, Said(), _pace)


async def _pace(index: int) -> None:
    if index % AT_ONCE == 0:
        await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    quiet()
    _, url, seed, tokens, *sessions = sys.argv
    uvloop.run(main(url, int(seed), int(tokens), sessions))
