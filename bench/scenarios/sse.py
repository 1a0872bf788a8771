"""`sse`: the same turns, read over WebSocket and as server-sent events: what does SSE cost?"""

from msgspec.structs import replace

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

COUNT = 200
RATE = 50
UNDER_WAY = 50
"""Tokens of each session, where they are published as fast as the system takes them: the
rival's queues have no bound."""

SYSTEMS = ("edgestream", "fastapi")
WEBSOCKET, SSE = "WebSocket", "SSE"
LOADS = (*(f"{RATE}/s, {how}" for how in (ONE, ARRAYS)), "saturated")


def variants(settings: Settings) -> list[Variant]:
    """Each load over WebSocket, and as SSE; publishing is over WebSocket in both."""
    steady = shapes(COUNT // settings.scale, RATE)
    saturated = replace(steady[ONE], rate=0, window=UNDER_WAY)
    found = []
    for load, part in zip(LOADS, (*steady.values(), saturated), strict=True):
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
    columns=(DELIVERED, replace(COST, per=("fastapi",)), *SYSTEM, *GENERATOR, MEMORY),
)
