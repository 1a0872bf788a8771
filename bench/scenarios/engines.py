"""`engines`: what a token costs: without turns, with them, and stored in a file.

Three brokers at the same time, on one core, each with the same load: so that the differences,
of a microsecond or so, are not those of the machine from one minute to the next.
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from bench import generator
from bench.plan import Measured, Part, Times, Usage, Variant
from bench.scenario import Column, Cores, Scenario, Settings, cpu_micros
from bench.scenarios.flood import BUFFER
from bench.systems import System, running

COUNT = 50
EACH = 10
"""Sessions of one publisher, where publishes travel in arrays."""

OPEN, MEMORY, SQLITE = "no turns", "memory", "sqlite"
NAMESPACE = "EDGESTREAM_NAMESPACES__AGENT_CHAT__"


def variants(settings: Settings) -> list[Variant]:
    """At a rate that all three can keep up with, and as fast as they are read."""
    count = max(EACH, COUNT // settings.scale)
    found = []
    for rate in (*settings.rates, 0):
        for each, how in ((1, "one per message"), (EACH, "arrays")):
            part = Part(
                sessions=count,
                publishers=count // each,
                batch=each,
                rate=rate,
                buffer=0 if rate else BUFFER,
            )
            name = f"{f'{rate}/s' if rate else 'flood'}, {how}"
            found.append(Variant(name=name, parts=_parts(part), only=("edgestream",)))
    return found


def _parts(part: Part) -> tuple[Part, ...]:
    """The same tokens: in a namespace without a schema, and in `agent.chat`."""
    plain = replace(
        part, namespace="workflow", topic="workflow.bench.token", keyed=True, turns=False
    )
    return (
        replace(plain, role=OPEN),
        replace(part, role=MEMORY),
        replace(part, role=SQLITE),
    )


def measure(system: System, variant: Variant, times: Times, cores: Cores) -> Measured:
    """All three at once: as shipped, but for the engine and the file of one."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stored = replace(system, environ={**system.environ, **_stored(Path(folder))})
        brokers = [
            stack.enter_context(running(stored if part.role == SQLITE else system, cores[0]))
            for part in variant.parts
        ]
        with ThreadPoolExecutor(len(brokers)) as threads:
            found = list(
                threads.map(
                    lambda part, at: generator.measure([part], system, at, times, cores),
                    variant.parts,
                    brokers,
                )
            )
    return Measured(
        parts={role: mine for each in found for role, mine in each.parts.items()},
        usage=_together([each.usage for each in found]),
        problems=[problem for each in found for problem in each.problems],
        more={part.role: each for part, each in zip(variant.parts, found, strict=True)},
    )


def _stored(folder: Path) -> dict[str, str]:
    return {
        f"{NAMESPACE}ENGINE": "sqlite",
        f"{NAMESPACE}STORAGE__FILE": str(folder / "bench.db"),
    }


def _together(usages: list[Usage]) -> Usage:
    """Of all: what each has as foreign is, for the most part, the others'."""
    own = sum(usage.cpu for usage in usages)
    first = usages[0]
    foreign = max(0.0, first.foreign - (own - first.cpu))
    return Usage(cpu=own, wall=first.wall, foreign=foreign, rss=max(u.rss for u in usages))


def figures(measured: Measured) -> dict[str, float]:
    """µs of CPU a token, all threads; and what each has more than the one before it."""
    each: Mapping[str, Measured] = measured.more
    micros = {kind: cpu_micros(one, one.parts[kind].delivered) for kind, one in each.items()}
    return {
        **{f"{kind} µs": value for kind, value in micros.items()},
        "turns µs": micros[MEMORY] - micros[OPEN],
        "storing µs": micros[SQLITE] - micros[MEMORY],
        "tokens/s": sum(part.delivered for part in measured.parts.values()),
        "cpu": measured.usage.share * 100,
        "generator cpu": sum(part.share for part in measured.parts.values()) * 100,
        "memory p99 ms": measured.parts[MEMORY].latency.p99 / 1e3,
        "sqlite p99 ms": measured.parts[SQLITE].latency.p99 / 1e3,
    }


ENGINES = Scenario(
    name="engines",
    about="50 sessions on each of three brokers: what turns cost a token, and storing them",
    variants=variants,
    figures=figures,
    measure=measure,
    columns=(
        Column(f"{OPEN} µs", "CPU µs/token, no turns", "{:.2f}"),
        Column(f"{MEMORY} µs", "turns, in memory", "{:.2f}"),
        Column(f"{SQLITE} µs", "turns, SQLite", "{:.2f}"),
        Column("turns µs", "turns cost", "{:+.2f}", spread=True),
        Column("storing µs", "SQLite costs", "{:+.2f}", spread=True),
        Column("tokens/s", "tokens/s, all", "{:,.0f}"),
        Column("cpu", "CPU, all", "{:.0f} %"),
        Column("memory p99 ms", "p99 ms, memory", "{:.2f}"),
        Column("sqlite p99 ms", "SQLite", "{:.2f}"),
        Column("generator cpu", "gen CPU", "{:.0f} %"),
    ),
)
