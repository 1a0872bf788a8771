"""One run of one scenario: its seed, its size, its counts, and the broker that it is for."""

import asyncio
import logging
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import structlog
from system.processes import PATIENCE, ROOT, Running, serving

__all__ = ["ROOT", "Broken", "Run", "Running", "broker", "chance_of", "kill", "metrics", "quiet"]

T = TypeVar("T")
METRIC = re.compile(r"^edgestream_(\w+?)(?:_total)?(?:\{\w+=\"([^\"]+)\"\})? (\S+)$", re.MULTILINE)
WORST_LAG = "worst_since_last_scrape"


class Broken(AssertionError):
    """A law does not hold."""


def quiet() -> None:
    """Clients that are cut have a lot to tell, which is what is meant here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def chance_of(seed: int, *names: object) -> random.Random:
    """Chance of its own for each name: what one does with it changes no other's."""
    return random.Random("/".join(map(str, (seed, *names))))


class Run:
    """What a scenario is given.

    Args:
        name: of the scenario.
        long: its full size, and not that of the test suite.
        folder: for files.

    Attributes:
        counts: what happened; see `report`.
        figures: what was measured.
        tokens: how many were said.
        waiting: tells where those are who have not come to their end, if it hangs.
    """

    def __init__(self, name: str, seed: int, folder: Path, *, long: bool) -> None:
        self.name = name
        self.seed = seed
        self.long = long
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.figures: dict[str, str] = {}
        self.tokens = 0
        self.waiting: Callable[[], Iterable[str]] = lambda: ()

    def chance(self, *names: object) -> random.Random:
        """See `chance_of`."""
        return chance_of(self.seed, self.name, *names)

    def size(self, short: T, long: T) -> T:
        """One of two sizes."""
        return long if self.long else short

    def hold(self, what: str, left: object, right: object) -> None:
        """A conservation law.

        Raises:
            Broken: the two sides differ.
        """
        if left != right:
            raise Broken(f"{what}: {left} is not {right}")

    def report(self) -> str:
        """What happened, in a line."""
        counts = [f"{count:,} {name}" for name, count in self.counts.items()]
        return ", ".join(counts + [f"{name} {figure}" for name, figure in self.figures.items()])


@asynccontextmanager
async def broker(module: str = "broker", **environ: str) -> AsyncIterator[Running]:
    """A broker in a process of its own; see `serving`. It must have nothing to complain of.

    Raises:
        Broken: it logged an error.
    """
    running: Running | None = None
    try:
        async with serving(module=module, **environ) as running:
            yield running
    finally:
        if running is not None:
            _, said = await running.said
            for line in said.decode().splitlines():
                if '"level":"error"' in line.replace(" ", "") or "Traceback" in line:
                    raise Broken(f"the broker says: {line}")


async def kill(running: Running) -> None:
    """kill -9, and wait for the end of it."""
    running.process.kill()
    async with asyncio.timeout(PATIENCE):
        await running.process.wait()


async def metrics(running: Running, namespace: str = "agent.chat") -> dict[str, int]:
    """The broker's counts; of namespaces, those of one; of errors, those of each code
    (``errors_sent:token_gap``), and their sum; how late its loop was at worst (``lag_ms``)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    counts = {"errors_sent": 0}
    for name, label, value in METRIC.findall(answer):
        if label in ("", namespace):
            counts[name] = int(float(value))
        elif name == "errors_sent":
            counts[f"{name}:{label}"] = int(float(value))
            counts[name] += int(float(value))
        elif label == WORST_LAG:
            counts["lag_ms"] = round(float(value) * 1000)
    return counts
