"""`fan-out`: one session, and a thousand that watch it: what a delivery costs."""

from collections.abc import Mapping

from bench.plan import Part, Variant
from bench.scenario import Column, Scenario, Settings
from bench.scenarios.sessions import figures

WATCHERS = 1000
RATES: Mapping[int, tuple[str, ...]] = {20: (), 50: ("edgestream", "bun")}
"""Tokens a second, with the systems of a short run."""


def variants(settings: Settings) -> list[Variant]:
    """At a reader's pace, and at a model's."""
    fan = WATCHERS // settings.scale
    return [
        Variant(
            name=f"1 → {fan:,}, {rate} tokens/s", parts=(Part(rate=rate, fan=fan),), short=short
        )
        for rate, short in RATES.items()
    ]


FAN_OUT = Scenario(
    name="fan-out",
    about="one session at a steady rate, to a thousand subscribers: what a delivery costs",
    variants=variants,
    figures=figures,
    columns=(
        Column("tokens/s", "deliveries/s", "{:,.0f}"),
        Column("cpu µs/token", "CPU µs/delivery", "{:.2f}", per=("bun",), spread=True),
        Column("cpu", "CPU", "{:.0f} %"),
        Column("p50 ms", "p50 ms", "{:.2f}"),
        Column("p99 ms", "p99 ms", "{:.2f}"),
        Column("max ms", "max ms"),
        Column("generator cpu", "gen CPU", "{:.0f} %"),
        Column("lag p99 ms", "lag p99 ms", "{:.2f}"),
    ),
)
