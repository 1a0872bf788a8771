"""Jumps of the machine's clock, by days, in both directions: while a broker runs, and while it
is down. No turn ends because of them, and every turn ends in spite of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from faults.account import Wrong
from faults.proxy import Proxy, proxied

from ..agents import Said, agent, speak
from ..jumpy import WallClock
from ..readers import Reader, check, check_prefix
from ..run import ROOT, Run, broker, kill
from ..words import word

GRACE, STALL = 1.5, 3.0
"""How long the broker waits for a lost owner or a stop, and for the next event, in seconds."""

DAY = 86_400
YEAR = 365 * DAY
BEGUN = 20
"""How many tokens a turn has that goes no further."""

CHAT = "EDGESTREAM_NAMESPACES__AGENT_CHAT__"


async def clock(run: Run) -> None:
    """In each life of a broker a jump while it runs; then it is killed, and the clock has
    jumped once more when its heir starts on the same file."""
    wall = WallClock(run.folder / "clock")
    chance = run.chance("jumps")
    lives = run.size(1, 6)
    environ = wall.environ | {
        "PYTHONPATH": str(ROOT / "tests"),
        CHAT + "OPTIONS": f"{{grace = {GRACE}, stall = {STALL}}}",
        CHAT + "ENGINE": "sqlite",
        CHAT + "STORAGE__FILE": str(run.folder / "chat.db"),
        CHAT + "HISTORY__AGE": str(YEAR),
    }

    def jump() -> None:
        # Back at first: that is where deadlines may come to lie in the future.
        way = chance.choice([-1, 1]) if wall.ahead else -1
        wall.jump(way * chance.uniform(0.01, 30) * DAY)

    async with proxied(0) as proxy:
        for life in range(lives):
            async with broker("stress.jumpy", **environ) as running:
                proxy.target = running.port
                await _while_it_runs(run, proxy, life, jump)
                url = proxy.url("/ws/chat")
                async with _open_turns(run, url, life) as turns:
                    await kill(running)
                    jump()
                    await turns["gone"].owner.close()
                    began = time.monotonic()
                    async with broker("stress.jumpy", **environ) as heir:
                        proxy.target = heir.port
                        await turns["deaf"].ends("cancelled")
                        await turns["gone"].ends("publisher_lost", began + GRACE)
                        await turns["silent"].ends("turn_stalled", began + STALL)
    run.counts["jumps"] = 2 * lives


async def _while_it_runs(run: Run, proxy: Proxy, life: int, jump: Callable[[], None]) -> None:
    """One backend goes on, is cut, and comes back; one is lost: in time, and no sooner."""
    url, name = proxy.url("/ws/chat"), f"steady{life}"
    chance, said = run.chance(name), {name: Said()}
    reader = Reader(url, name, f"{name}.0", chance)
    async with (
        agent(url, chance) as client,
        _open(run, url, f"lost{life}") as lost,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(reader.read())
        tasks.create_task(speak(client, name, f"{name}.0", 1000, chance, said[name], _pace))
        await reader.goes_on(chance.randrange(1, 500))
        left = time.monotonic()
        await lost.owner.close()
        jump()
        proxy.cut_all()
        await lost.ends("publisher_lost", left + GRACE)
    told = check([reader], said)
    run.hold("events back in time", told["back in time"], 0)
    run.tokens += told["tokens"]
    run.counts["told"] += told["tokens"]


async def _pace(index: int) -> None:
    await asyncio.sleep(0.002)


class _Open:
    """A turn that has begun, and of which no more is said.

    Attributes:
        owner: who began it.
    """

    def __init__(self, run: Run, url: str, session: str) -> None:
        self.owner = agent(url, run.chance(session))
        self._run = run
        self._session = session
        self._turn = f"{session}.0"
        self._reader = Reader(url, session, self._turn, run.chance(session))
        self._reading = asyncio.create_task(self._reader.read())

    async def begin(self) -> None:
        turn = self.owner.turn(self._session, "agent", turn_id=self._turn)
        await turn.__aenter__()
        for index in range(BEGUN):
            await turn.token(word(self._turn, index))
        await self.owner.flush()

    async def stop(self) -> None:
        """Ask it to end; its owner does not listen."""
        body = {"sessionId": self._session, "turnId": self._turn}
        await (await self.owner.publish("agent.chat.cancel", body))

    async def ends(self, why: str, earliest: float = 0.0) -> None:
        """Wait for its end, which is that one, and does not come before its time."""
        await self._reading
        if time.monotonic() < earliest:
            raise Wrong(f"{self._session} has ended {earliest - time.monotonic()} s too early")
        told = check_prefix(self._reader, self._turn, BEGUN, why)
        self._run.counts[why] += told["cut short"]

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self.owner.close()


@asynccontextmanager
async def _open(run: Run, url: str, session: str) -> AsyncIterator[_Open]:
    turn = _Open(run, url, session)
    async with turn.owner:
        try:
            await turn.begin()
            yield turn
        finally:
            await turn.close()


@asynccontextmanager
async def _open_turns(run: Run, url: str, life: int) -> AsyncIterator[dict[str, _Open]]:
    """Their owners come back after the restart and say nothing, but for that of `gone`; that
    of `deaf` has been asked to stop."""
    async with AsyncExitStack() as stack:
        turns = {
            kind: await stack.enter_async_context(_open(run, url, f"{kind}{life}"))
            for kind in ("silent", "deaf", "gone")
        }
        await turns["deaf"].stop()
        yield turns
