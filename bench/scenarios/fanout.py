"""`fan-out`: one session, and a thousand that watch it: what a delivery costs."""

from collections.abc import Mapping

from msgspec.structs import replace

from bench.plan import Part, Variant
from bench.scenario import Scenario, Settings
from bench.scenarios.sessions import COST, DELIVERED, GENERATOR, SYSTEM, figures

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
        replace(DELIVERED, heading="deliveries/s"),
        replace(COST, heading="CPU µs/delivery", per=("bun",), versus=False),
        *SYSTEM,
        *GENERATOR,
    ),
)
