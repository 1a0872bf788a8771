"""`idle`: what an open connection costs in memory, plain and subscribed."""

import time

from bench import generator, procfs
from bench.plan import Found, Measured, Part, Times, Usage, Variant
from bench.processes import Failed
from bench.scenario import Column, Cores, Scenario, Settings
from bench.systems import System, running

COUNT = 2000
SETTLE = 1.0

FIRST = Part(role="first", publishers=0, sessions=50, prefix="f")
"""Connections opened before the first look, so that what is loaded once is loaded."""


def variants(settings: Settings) -> list[Variant]:
    """The one that there is."""
    count = COUNT // settings.scale
    idle = Part(publishers=0, sessions=count)
    return [Variant(name=f"{count} connections", parts=(FIRST, idle))]


def measure(system: System, variant: Variant, times: Times, cores: Cores) -> Measured:
    """RSS before, with the connections open, and with one subscription on each."""
    first, idle = variant.parts
    seen: list[procfs.Sample] = []
    with running(system, cores[0]) as at:

        def look() -> None:
            time.sleep(SETTLE)
            seen.append(procfs.sample(procfs.tree(at.pid)))

        try:
            with generator.opened([first], system, at.port, times, cores[1]) as (warm,):
                warm.step("subscribe", "ready")
                look()
                with generator.opened([idle], system, at.port, times, cores[1]) as (many,):
                    look()
                    many.step("subscribe", "ready")
                    look()
                    found = [told(many, times), told(warm, times)]
        except (OSError, Failed) as error:
            return Measured(problems=[f"it stopped: {error}"])
    before, opened, subscribed = (sample.rss / 1024 / idle.sessions for sample in seen)
    usage = Usage(rss=seen[-1].rss)
    kib = {"idle": opened - before, "subscribed": subscribed - before}
    problems = [problem for mine in found for problem in mine.problems]
    return Measured(usage=usage, problems=problems, more=kib)


def told(part: generator.Generator, times: Times) -> Found:
    """What the part found wrong, when it is told to stop."""
    part.tell("stop")
    return part.told(times.drain + 10)


def figures(measured: Measured) -> dict[str, float]:
    """KiB a connection."""
    return {"idle KiB": measured.more["idle"], "subscribed KiB": measured.more["subscribed"]}


IDLE = Scenario(
    name="idle",
    about="memory of an open connection, and of one that has subscribed",
    variants=variants,
    figures=figures,
    measure=measure,
    columns=(
        Column("idle KiB", "KiB each", per=("edgestream",), spread=True),
        Column("subscribed KiB", "subscribed", per=("edgestream",), spread=True),
    ),
)
