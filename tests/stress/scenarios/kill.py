"""kill -9 of the broker, again and again, while everybody goes on: with what it had stored in
a file, or with nothing."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from faults.proxy import proxied

from ..agents import Said, agent, speak
from ..readers import Reader, check, check_endings, waiting
from ..run import Run, Running, broker
from ..run import kill as kill_now

LAST = "last"
"""The turn that tells a reader that there are no more."""

CHAT = "EDGESTREAM_NAMESPACES__AGENT_CHAT__"
PATIENT = {CHAT + "OPTIONS": "{grace = 60.0, compact_after = 3600.0}"}
"""Nobody is given up while there is no broker to come back to; and who reads all of it in the
end is told every token, however long it took."""


class Survivors(NamedTuple):
    """Who has lived through it all, and the broker that is left."""

    said: dict[str, Said]
    readers: Sequence[Reader]
    running: Running


async def kill(run: Run) -> None:
    """On a file: what was accepted is there, once; nobody has a gap, and no turn is repaired."""
    file = str(run.folder / "chat.db")
    durable = {CHAT + "ENGINE": "sqlite", CHAT + "STORAGE__FILE": file}
    async with _lives(run, PATIENT | durable) as (said, readers, running):
        told = check(readers, said)
        url = running.url("/ws/chat")
        late = [Reader(url, name, f"{name}.{LAST}", run.chance("late"), coalesce="never")
                for name in said]  # fmt: skip
        for reader in late:
            await reader.read()
        stored = check(late, said)
    sent = sum(session.events for session in said.values())
    # Of a session with many turns the oldest ones are merged by now.
    run.hold("stored, merged among it, and sent", stored["events"] + stored["merged"], sent)
    run.hold("gaps", told["gaps"], 0)
    run.hold("turns told anew", told["anew"], 0)
    run.hold("turns repaired", sum(session.repairs for session in said.values()), 0)
    run.counts.update(
        sent=sent,
        stored=stored["events"] + stored["merged"],
        told=told["tokens"],
        merged=told["merged"],
        replayed=told["replayed"],
    )


async def forget(run: Run) -> None:
    """In memory: who speaks restores a turn that the broker lost, and readers know of the gap;
    the text of every turn that ends for them is right."""
    async with _lives(run, PATIENT) as (said, readers, _):
        told = check_endings(readers, said)
    run.counts.update(
        sent=sum(session.events for session in said.values()),
        told=told["tokens"],
        restored=sum(session.repairs for session in said.values()),
        anew=told["anew"],
        gaps=told["gaps"],
        forgotten=told["forgotten"],
    )


@asynccontextmanager
async def _lives(run: Run, environ: Mapping[str, str]) -> AsyncIterator[Survivors]:
    """Brokers that are killed, one after the other, and a last one."""
    lives, sessions = run.size(3, 10), run.size(4, 20)
    chance = run.chance("kills")
    said = {f"s{n}": Said() for n in range(sessions)}
    over = asyncio.Event()
    async with proxied(0) as proxy:
        url = proxy.url("/ws/chat")
        readers = [
            Reader(url, name, f"{name}.{LAST}", run.chance(name, n), twice=n == 1)
            for name in said for n in range(2)
        ]  # fmt: skip
        run.waiting = lambda: waiting(readers)
        async with asyncio.TaskGroup() as tasks:
            everyone = [tasks.create_task(reader.read()) for reader in readers]
            everyone += [
                tasks.create_task(_publish(run, url, name, said[name], over)) for name in said
            ]
            for _ in range(lives):
                async with broker(**environ) as running:
                    proxy.target = running.port
                    for reader in readers:  # who is not there yet knows of no gap
                        await reader.ready.wait()
                    await chance.choice(readers).goes_on(chance.randrange(1, 1000))
                    await kill_now(running)
            over.set()
            async with broker(**environ) as running:
                proxy.target = running.port
                await asyncio.gather(*everyone)
                run.tokens = sum(sum(session.tokens.values()) for session in said.values())
                run.counts["kills"] = lives
                yield Survivors(said, readers, running)


async def _publish(run: Run, url: str, session: str, said: Said, over: asyncio.Event) -> None:
    """Turn after turn, until it is over."""
    chance = run.chance(session)
    number = 0
    async with agent(url, chance) as client:
        while not over.is_set():
            tokens = chance.randrange(1, 800)
            await speak(client, session, f"{session}.{number}", tokens, chance, said)
            number += 1
        await speak(client, session, f"{session}.{LAST}", 10, chance, said)
