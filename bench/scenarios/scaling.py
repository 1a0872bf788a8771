"""`scaling`: the same tokens a second, of ever more sessions: does a token cost more?"""

from bench.plan import Variant
from bench.scenario import Scenario, Settings
from bench.scenarios.sessions import (
    ARRAYS,
    COST,
    DELIVERED,
    GENERATOR,
    MEMORY,
    ONE,
    SYSTEM,
    figures,
    shapes,
)

TOKENS = 20_000
"""A second, of all sessions together."""

COUNTS = (100, 1000, 3000)


def variants(settings: Settings) -> list[Variant]:
    """100, 1,000 and 3,000 sessions, each with connections of its own; and in arrays."""
    found = []
    counts = [count // settings.scale for count in COUNTS]
    for how in (ONE, ARRAYS):
        for count in counts:
            part = shapes(count, TOKENS / settings.scale / count)[how]
            short = ("edgestream",) if count in (counts[0], counts[-1]) else ()
            base = f"{counts[0]:,} sessions, {how}" if count != counts[0] else ""
            name = f"{count:,} sessions, {how}"
            found.append(Variant(name=name, parts=(part,), base=base, short=short))
    return found


SCALING = Scenario(
    name="scaling",
    about="20,000 tokens/s of 100, 1,000 and 3,000 sessions: does a token cost more?",
    variants=variants,
    figures=figures,
    columns=(DELIVERED, COST, *SYSTEM, *GENERATOR, MEMORY),
)
