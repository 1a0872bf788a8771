"""``python -m stress.victim``: a backend's process, to be killed."""

import asyncio
import random
import sys
from collections.abc import Sequence

import uvloop

from plugins.agent.client import connect

from .agents import Said, speak
from .run import chance_of, quiet

AT_ONCE = 10
PAUSE = 0.003
"""It says so many tokens, and pauses so many seconds: a turn takes a while, for it to die in."""


def turn_of(session: str) -> str:
    """The turn that it has in a session."""
    return f"{session}.0"


async def main(url: str, seed: int, tokens: int, sessions: Sequence[str]) -> None:
    """Wait for the word, connect, and speak in all sessions at once.

    Whoever is started with the same arguments is the same: knows its secrets, says the same.
    """
    print("ready", flush=True)
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
