"""`scaling`: the same tokens a second, of ever more sessions: does a token cost more?"""

from bench.plan import Part, Variant
from bench.scenario import Column, Scenario, Settings
from bench.scenarios.sessions import EACH, figures

TOKENS = 20_000
"""A second, of all sessions together."""

COUNTS = (100, 1000, 3000)


def variants(settings: Settings) -> list[Variant]:
    """100, 1,000 and 3,000 sessions, each with connections of its own; and in arrays."""
    found = []
    counts = [count // settings.scale for count in COUNTS]
    for each, how in ((1, "one per message"), (EACH, "arrays")):
        for count in counts:
            rate = TOKENS / settings.scale / count
            part = Part(sessions=count, publishers=count // each, batch=each, rate=rate)
            base = f"{counts[0]:,} sessions, {how}" if count != counts[0] else ""
            short = ("edgestream",) if count in (counts[0], counts[-1]) else ()
            name = f"{count:,} sessions, {how}"
            found.append(Variant(name=name, parts=(part,), base=base, short=short))
    return found


SCALING = Scenario(
    name="scaling",
    about="20,000 tokens/s of 100, 1,000 and 3,000 sessions: does a token cost more?",
    variants=variants,
    figures=figures,
    columns=(
        Column("tokens/s", "tokens/s", "{:,.0f}"),
        Column("cpu µs/token", "CPU µs/token", "{:.2f}", spread=True, versus=True),
        Column("cpu", "CPU", "{:.0f} %"),
        Column("p50 ms", "p50 ms", "{:.2f}"),
        Column("p99 ms", "p99 ms", "{:.2f}"),
        Column("max ms", "max ms"),
        Column("generator cpu", "gen CPU", "{:.0f} %"),
        Column("lag p99 ms", "lag p99 ms", "{:.2f}"),
        Column("rss MiB", "RSS MiB", "{:.0f}"),
    ),
)
