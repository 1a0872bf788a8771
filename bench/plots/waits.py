"""How long a bystander waits in a flood (p99), on a logarithmic scale."""

import math
from typing import Any

from bench.plots import rows
from bench.plots.svg import Drawing, colour
from bench.scenarios import flood

TICKS = {1: "1 ms", 10: "10 ms", 100: "100 ms", 1000: "1 s", 10_000: "10 s"}
BAR = 5.0
LEFT, PANEL, GAP = 124.0, 330.0, 48.0
TOP, STEP = 132.0, 40.0
SHAPES = (("one per message", "●"), ("arrays", "○"))


def plot(result: Any) -> str | None:
    """Two panels, many publishers and one; a dot for one publish a message, a ring for arrays."""
    panels = [
        (title, [rows.of(result, "flood", how + also) for how, _ in SHAPES])
        for title, also in (("200 publishers", ""), ("one publisher", f", {flood.ONE}"))
    ]
    panels = [(title, blocks) for title, blocks in panels if any(blocks)]
    if not panels:
        return None
    systems = rows.systems([block for _, blocks in panels for block in blocks])
    height = TOP + STEP * len(systems) + 56
    width = LEFT + len(panels) * (PANEL + GAP)
    drawing = Drawing(
        int(width), int(height),
        "A bystander's wait while 200 sessions flood",
        "p99 from publish to receive, on connections of its own, in another namespace; "
        "logarithmic, left is better",
    )  # fmt: skip
    drawing.text(24, 82, "● one publish per message  ·  ○ arrays of 25", "soft small")
    for n, system in enumerate(systems):
        drawing.text(LEFT - 16, _y(n) + 4, system, _weight(system), "end")
    for n, (title, blocks) in enumerate(panels):
        _panel(drawing, LEFT + n * (PANEL + GAP), title, systems, blocks)
    return drawing.render()


def _panel(
    drawing: Drawing, left: float, title: str, systems: list[str], blocks: list[dict[str, rows.Row]]
) -> None:
    bottom = TOP + STEP * len(systems)
    drawing.text(left, TOP - 18, title, "ink bold")
    for value, words in TICKS.items():
        drawing.line(_x(left, value), TOP, _x(left, value), bottom, "grid")
        drawing.text(_x(left, value), bottom + 20, words, "soft small", "middle")
    drawing.line(_x(left, BAR), TOP, _x(left, BAR), bottom, "bar")
    drawing.text(_x(left, BAR), bottom + 38, "the bar: 5 ms", "soft small", "middle")
    for n, system in enumerate(systems):
        drawing.line(left, _y(n), left + PANEL, _y(n), "grid")
        found = [block.get(system) for block in blocks]
        values = [rows.figure(row, "p99 ms") for row in found]
        _dots(drawing, left, _y(n), system, values)
        failed = "".join(
            mark
            for (_, mark), row, value in zip(SHAPES, found, values, strict=True)
            if row and value is None
        )
        if failed:
            drawing.text(left + PANEL, _y(n) - 7, f"{failed} no valid run", "soft small", "end")


def _dots(drawing: Drawing, left: float, y: float, system: str, values: list[float | None]) -> None:
    number = colour(system)
    dot, ring = values
    if ring is not None:
        drawing.circle(_x(left, ring), y, 7, f"page ring s{number}")
    if dot is not None:
        drawing.circle(_x(left, dot), y, 4.5, f"f{number}")
    told = [value for value in values if value is not None]
    if told:
        words = " / ".join(map(_words, told))
        at = max(_x(left, value) for value in told)
        room = at + 14 + 7 * len(words) < left + PANEL + GAP
        x, anchor = (at + 12, "start") if room else (_x(left, min(told)) - 12, "end")
        drawing.text(x, y - 7, words, "ink small", anchor)


def _words(value: float) -> str:
    return (
        f"{value:.1f} ms"
        if value < 10
        else f"{value:.0f} ms"
        if value < 1000
        else f"{value / 1000:.1f} s"
    )


def _weight(system: str) -> str:
    return "ink bold" if system == "edgestream" else "ink"


def _x(left: float, value: float) -> float:
    return left + PANEL * math.log10(max(1.0, value)) / math.log10(max(TICKS))


def _y(number: int) -> float:
    return TOP + STEP * (number + 0.5)
