"""A recovery storm: readers and publishers are cut at random bytes, in a flood; now and then
all of the readers at once."""

import asyncio
import random
from itertools import count

from faults.proxy import WAYS, AtByte, Judge, never, proxied

from ..agents import Said, agent, speak
from ..readers import Reader, check, waiting
from ..run import Run, broker, metrics

LONG = {
    "EDGESTREAM_NAMESPACES__AGENT_CHAT__HISTORY__BYTES": str(1 << 30),
    "EDGESTREAM_NAMESPACES__AGENT_CHAT__HISTORY__EVENTS": "100000",
    "EDGESTREAM_NAMESPACES__AGENT_CHAT__OPTIONS": "{grace = 600.0, compact_after = 3600.0}",
}
"""A history that holds all of it, token by token: then nobody may have a gap, however far
behind; and a storm may take longer than turns stay as they were said."""

SPARED = 0.1
"""Which part of the connections is not cut at a byte."""


async def storm(run: Run) -> None:
    """Every token once, in order, to everyone; and the broker accepted each once."""
    sessions, each = run.size(4, 40), run.size(4, 5)
    turns, tokens = run.size((2, 500), (10, 1500))
    gusts = run.size(2, 16)
    chance = run.chance("cuts")
    said = {f"s{n}": Said() for n in range(sessions)}
    async with (
        broker(**LONG) as running,
        proxied(running.port, lambda: _judge(chance, 1500)) as publishing,
        proxied(running.port, lambda: _judge(chance, 6_000)) as reading,
    ):
        readers = [
            Reader(reading.url("/ws/chat"), session, f"{session}.{turns - 1}",
                   run.chance(session, n), twice=n == 1, rollup_ms=20 * (n == 2) or None)
            for session in said for n in range(each)
        ]  # fmt: skip
        run.waiting = lambda: waiting(readers)
        over = count(1)

        async def publish(session: str) -> None:
            own = run.chance(session)
            async with agent(publishing.url("/ws/chat"), own) as client:
                for n in range(turns):
                    await speak(client, session, f"{session}.{n}", tokens, own, said[session])
                    if next(over) % (sessions * turns // gusts) == 0:
                        reading.cut_all()

        async with asyncio.TaskGroup() as tasks:
            for reader in readers:
                tasks.create_task(reader.read())
            for session in said:
                tasks.create_task(publish(session))
        told = check(readers, said)
        broker_counts = await metrics(running)
    sent = sum(session.events for session in said.values())
    run.hold("accepted and sent", broker_counts["events_accepted"], sent)
    run.hold("readers with gaps", told["gaps"], 0)
    run.hold("turns told anew", told["anew"], 0)
    run.counts.update(
        sent=sent,
        accepted=broker_counts["events_accepted"],
        repeated=broker_counts["events_received"] - sent,
        refused=broker_counts["errors_sent"],
        told=told["tokens"],
        merged=told["merged"],
        replayed=told["replayed"],
        cuts=publishing.cuts + reading.cuts,
    )
    run.figures["loop late by at most"] = f"{broker_counts['lag_ms']} ms"
    run.tokens = sum(sum(session.tokens.values()) for session in said.values())


def _judge(chance: random.Random, mean: int) -> Judge:
    """One of a good cable, or of one that is cut at a byte of either way."""
    if chance.random() < SPARED:
        return never
    way = chance.choice(WAYS)
    return AtByte(way, 1 + round(chance.expovariate(1 / mean)))
