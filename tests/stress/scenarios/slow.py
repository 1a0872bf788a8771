"""Slow readers: they get all of the text in fewer events, as fast as their links take it; and
then they are cut, too."""

import asyncio
from collections import Counter

from faults.proxy import AtByte, Judge, never, proxied

from ..agents import Said, agent, speak
from ..readers import Reader, check, waiting
from ..run import Run, broker, metrics

RATE = 200_000
"""Bytes a second of a slow link: far less than what is said, and enough for its text."""


async def slow(run: Run) -> None:
    """First nobody is cut: every event that the broker counts as delivered came, alone or
    merged. Then each of the slow links is cut, again and again."""
    for cut in (False, True):
        await _flood(run, cut=cut)


async def _flood(run: Run, *, cut: bool) -> None:
    sessions, tokens = run.size(4, 30), run.size(1000, 5000)
    chance = run.chance("cuts", cut)
    said = {f"s{n}": Said() for n in range(sessions)}

    def judge(mean: int) -> Judge:
        return AtByte("down", round(chance.expovariate(1 / mean))) if cut else never

    async with (
        broker() as running,
        proxied(running.port, lambda: judge(15_000), RATE) as link,
        # Without merging a message has up to 64 KiB, and comes whole or not at all.
        proxied(running.port, lambda: judge(150_000), RATE) as strict_link,
        asyncio.TaskGroup() as tasks,
    ):
        url = running.url("/ws/chat")
        readers = []
        for name in said:
            for n, (at, wishes) in enumerate(
                [
                    (url, {}),
                    (link.url("/ws/chat"), {}),
                    (link.url("/ws/chat"), {"rollup_ms": 40}),
                    # It is closed (4108) as often as it cannot keep up.
                    (strict_link.url("/ws/chat"), {"coalesce": "never" if cut else "auto"}),
                ]
            ):
                chances = run.chance(name, n)
                readers.append(Reader(at, name, f"{name}.0", chances, **wishes))
        run.waiting = lambda: waiting(readers)
        reading = [tasks.create_task(reader.read()) for reader in readers]
        for reader in readers:
            await reader.ready.wait()

        async def publish(session: str) -> None:
            own = run.chance(session)
            async with agent(url, own) as client:
                await speak(client, session, f"{session}.0", tokens, own, said[session])

        await asyncio.gather(*(publish(session) for session in said), *reading)
        counts = await metrics(running)
    told = check(readers, said)
    sent = sum(session.events for session in said.values())
    run.hold("accepted and sent", counts["events_accepted"], sent)
    run.hold("gaps", told["gaps"], 0)
    if not cut:
        live = told["events"] + told["merged"]
        run.hold("told, merged among it, and delivered", live, counts["events_delivered"])
        run.hold("told and said", live, sent * len(readers) // sessions)
    _count(run, told, sent, link.cuts + strict_link.cuts)
    run.tokens += sessions * tokens


def _count(run: Run, told: Counter[str], sent: int, cuts: int) -> None:
    run.counts.update(
        sent=sent,
        told=told["tokens"],
        merged=told["merged"],
        replayed=told["replayed"],
        cuts=cuts,
    )
