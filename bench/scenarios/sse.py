"""`sse`: the same turns, read over WebSocket and as server-sent events: what does SSE cost?"""

from msgspec.structs import replace

from bench.plan import Part, Variant
from bench.scenario import Column, Scenario, Settings
from bench.scenarios.sessions import EACH, figures

COUNT = 200
RATE = 50
UNDER_WAY = 50
"""Tokens of each session, where they are published as fast as the system takes them: the
rival's queues have no bound."""

SYSTEMS = ("edgestream", "fastapi")
WEBSOCKET, SSE = "WebSocket", "SSE"
LOADS = (f"{RATE}/s, one per message", f"{RATE}/s, arrays", "saturated")


def variants(settings: Settings) -> list[Variant]:
    """Each load over WebSocket, and as SSE; publishing is over WebSocket in both."""
    count = COUNT // settings.scale
    one = Part(sessions=count, publishers=count, rate=RATE)
    arrays = replace(one, publishers=count // EACH, batch=EACH)
    saturated = replace(one, rate=0, window=UNDER_WAY)
    found = []
    for load, part in zip(LOADS, (one, arrays, saturated), strict=True):
        base = f"{load}, {WEBSOCKET}"
        events = replace(part, sse=True)
        found.append(Variant(name=base, parts=(part,), only=SYSTEMS))
        found.append(Variant(name=f"{load}, {SSE}", parts=(events,), only=SYSTEMS, base=base))
    return found


SERVER_SENT = Scenario(
    name="sse",
    about="200 turns, read over WebSocket and as server-sent events: what does SSE cost?",
    variants=variants,
    figures=figures,
    columns=(
        Column("tokens/s", "tokens/s", "{:,.0f}"),
        Column(
            "cpu µs/token", "CPU µs/token", "{:.2f}", per=("fastapi",), spread=True, versus=True
        ),
        Column("cpu", "CPU", "{:.0f} %"),
        Column("p50 ms", "p50 ms", "{:.2f}"),
        Column("p99 ms", "p99 ms", "{:.2f}"),
        Column("max ms", "max ms"),
        Column("generator cpu", "gen CPU", "{:.0f} %"),
        Column("lag p99 ms", "lag p99 ms", "{:.2f}"),
        Column("rss MiB", "RSS MiB", "{:.0f}"),
    ),
)
