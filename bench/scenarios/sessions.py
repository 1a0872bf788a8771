"""`sessions`: N turns at R tokens a second, each to one subscriber: what a token costs."""

from msgspec.structs import replace

from bench.plan import Measured, Part, Variant
from bench.scenario import Column, Scenario, Settings, cpu_micros

COUNT = 800
EACH = 20
"""Sessions of one publisher, where publishes travel in arrays."""

ONE, ARRAYS = "one per message", "arrays"

ACKNOWLEDGING = ("edgestream", "naive", "bun", "fastapi")
"""The systems that acknowledge."""


def shapes(count: int, rate: float) -> dict[str, Part]:
    """So many sessions, of a publisher each; and of one for every few, in arrays."""
    one = Part(sessions=count, publishers=count, rate=rate)
    arrays = replace(one, publishers=count // EACH, batch=EACH)
    return {ONE: one, ARRAYS: arrays}


def variants(settings: Settings) -> list[Variant]:
    """One per message and arrays, without and with acks; and merged within 40 ms."""
    count = COUNT // settings.scale
    found = []
    for rate in settings.rates:
        for how, part in shapes(count, rate).items():
            found.append(Variant(name=f"{rate}/s, {how}", parts=(part,)))
            acks = replace(part, acks=True)
            name = f"{rate}/s, {how}, acks"
            found.append(Variant(name=name, parts=(acks,), only=ACKNOWLEDGING, short=()))
        for how, part in shapes(count, rate).items():
            name, rollup = f"{rate}/s, {how}", (replace(part, rollup=40),)
            merged = Variant(
                name=f"{name}, rollupMs 40", parts=rollup, only=("edgestream",), base=name
            )
            found.append(merged)
    return found


def figures(measured: Measured) -> dict[str, float]:
    """Of the one part."""
    load, usage = measured.parts["load"], measured.usage
    return {
        "tokens/s": load.delivered,
        "cpu µs/token": cpu_micros(measured, load.delivered),
        "cpu": usage.share * 100,
        "p50 ms": load.latency.p50 / 1e3,
        "p99 ms": load.latency.p99 / 1e3,
        "max ms": load.latency.max / 1e3,
        "merged": 100 * load.merged / load.received if load.received else 0.0,
        "generator cpu": load.share * 100,
        "lag p99 ms": load.lag.p99 / 1e3,
        "rss MiB": usage.rss / 2**20,
    }


DELIVERED = Column("tokens/s", "tokens/s", "{:,.0f}")
COST = Column("cpu µs/token", "CPU µs/token", "{:.2f}", spread=True, versus=True)
SYSTEM = (
    Column("cpu", "CPU", "{:.0f} %"),
    Column("p50 ms", "p50 ms", "{:.2f}"),
    Column("p99 ms", "p99 ms", "{:.2f}"),
    Column("max ms", "max ms"),
)
GENERATOR = (
    Column("generator cpu", "gen CPU", "{:.0f} %"),
    Column("lag p99 ms", "lag p99 ms", "{:.2f}"),
)
MEMORY = Column("rss MiB", "RSS MiB", "{:.0f}")
"""Columns of all scenarios with these figures."""

SESSIONS = Scenario(
    name="sessions",
    about="800 sessions at a steady rate, each to one subscriber: what a token costs",
    variants=variants,
    figures=figures,
    columns=(
        DELIVERED,
        replace(COST, per=("naive", "bun")),
        *SYSTEM,
        Column("merged", "merged", "{:.0f} %"),
        *GENERATOR,
        MEMORY,
    ),
)
