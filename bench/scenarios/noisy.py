"""`noisy-session`: 199 sessions at a token's pace, and one of the same namespace that floods.

The noise is a process of its own and has a subscriber of its own, which reads all of it.
"""

from bench.plan import Measured, Part, Variant
from bench.scenario import Column, Scenario, Settings, cpu_micros
from bench.scenarios.flood import ARRAY, BUFFER

COUNT = 199
RATE = 50
ALONE = "without the noise"


def variants(settings: Settings) -> list[Variant]:
    """The polite ones alone; beside noise with one publish a message; and in arrays."""
    count = COUNT // settings.scale
    polite = Part(role="polite", sessions=count, publishers=count, rate=RATE, late=1.5)
    short = ("edgestream",)
    found = [Variant(name=ALONE, parts=(polite,), short=short)]
    for batch, how in ((1, "one per message"), (ARRAY, "arrays")):
        noise = Part(role="noise", prefix="n", batch=batch, buffer=BUFFER, yields=True)
        parts = (noise, polite)
        found.append(Variant(name=f"noise, {how}", parts=parts, base=ALONE, short=short))
    return found


def figures(measured: Measured) -> dict[str, float]:
    """Latency of the polite ones; CPU by all tokens."""
    polite, noise = measured.parts["polite"], measured.parts.get("noise")
    loud = noise.delivered if noise else 0.0
    return {
        "polite/s": polite.delivered,
        "noise/s": loud,
        "p50 ms": polite.latency.p50 / 1e3,
        "p99 ms": polite.latency.p99 / 1e3,
        "max ms": polite.latency.max / 1e3,
        "lag p99 ms": polite.lag.p99 / 1e3,
        "cpu µs/token": cpu_micros(measured, polite.delivered + loud),
        "cpu": measured.usage.share * 100,
        "generator cpu": 100 * sum(part.share for part in measured.parts.values()),
    }


NOISY = Scenario(
    name="noisy-session",
    about="199 sessions at 50 tokens/s, and one that publishes as fast as it is read: what do "
    "the 199 notice?",
    variants=variants,
    figures=figures,
    columns=(
        Column("polite/s", "polite tokens/s", "{:,.0f}"),
        Column("noise/s", "noise tokens/s", "{:,.0f}"),
        Column("p50 ms", "p50 ms", "{:.2f}"),
        Column("p99 ms", "p99 ms", "{:.2f}", spread=True, versus=True),
        Column("max ms", "max ms"),
        Column("lag p99 ms", "lag p99 ms", "{:.2f}"),
        Column("cpu µs/token", "CPU µs/token", "{:.2f}"),
        Column("cpu", "CPU", "{:.0f} %"),
        Column("generator cpu", "gen CPU", "{:.0f} %"),
    ),
)
