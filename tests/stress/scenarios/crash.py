"""Backends that are killed in the middle of their turns: another process takes half of them
over, and the others end with `publisher_lost`."""

import asyncio

from ..agents import Said
from ..backend import backend, go, turn_of
from ..readers import Reader, check, check_prefix
from ..run import Run, broker, metrics

GRACE = 3.0


async def crash(run: Run) -> None:
    """Every turn ends: whole, or with all that its publisher could say, and an error."""
    waves, sessions = run.size(1, 6), run.size(6, 30)
    async with broker(EDGESTREAM_NAMESPACES__AGENT_CHAT__OPTIONS=f"{{grace = {GRACE}}}") as running:
        url = running.url("/ws/chat")
        for wave in range(waves):
            await _wave(run, url, [f"w{wave}s{n}" for n in range(sessions)])
        counts = await metrics(running)
    run.hold("told and accepted", run.counts["told events"], counts["events_accepted"])
    run.counts.update(
        accepted=counts["events_accepted"],
        repeated=counts["events_received"] + run.counts["said by the broker"]
        - counts["events_accepted"] - counts["errors_sent"],
        refused=counts["errors_sent"],
    )  # fmt: skip
    run.hold("refused", counts["errors_sent"], 0)


async def _wave(run: Run, url: str, sessions: list[str]) -> None:
    """A process with a turn in each session, its end, and its heir to the first half."""
    chance = run.chance(sessions[0])
    tokens = run.size(1500, 4000)
    readers = [
        Reader(url, name, turn_of(name), run.chance(name), coalesce="never") for name in sessions
    ]
    inherited = sessions[: len(sessions) // 2]
    async with (
        backend(url, run.seed, tokens, sessions) as victim,
        backend(url, run.seed, tokens, inherited) as heir,
        asyncio.TaskGroup() as tasks,
    ):
        for reader in readers:
            tasks.create_task(reader.read())
        go(victim)
        await chance.choice(readers).goes_on(chance.randrange(1, tokens // 2))
        victim.kill()
        await victim.wait()
        go(heir)
        run.hold("the heir's exit", await heir.wait(), 0)
    said = {name: Said() for name in inherited}
    for name in inherited:
        said[name].tokens[turn_of(name)] = tokens
    told = check(readers[: len(inherited)], said)
    for reader in readers[len(inherited) :]:
        told += check_prefix(reader, turn_of(reader.session), tokens, "publisher_lost")
    run.tokens += told["tokens"]
    run.counts.update(
        {
            "crashes": 1,
            "taken over": len(inherited),
            "lost": told["cut short"],
            "told events": told["events"],
            "told": told["tokens"],
            "said by the broker": 2 * told["cut short"],
        }
    )
