"""What a token costs, paced: CPU of the system for each token that it delivers."""

from typing import Any

from bench.plots import rows
from bench.plots.svg import Drawing, colour

RATE = 100
LEFT, TOP, WIDTH, BAR, GROUP = 124.0, 112.0, 620.0, 15.0, 46.0
SHAPES = ("one per message", "arrays")
MERGED = "rollupMs 40"


def plot(result: Any) -> str | None:
    """A pair of bars for each system; edgestream's also where it merges within 40 ms."""
    blocks = [rows.of(result, "sessions", f"{RATE}/s, {how}") for how in SHAPES]
    merged = [rows.of(result, "sessions", f"{RATE}/s, {how}, {MERGED}") for how in SHAPES]
    if not any(blocks):
        return None
    lines = [(name, name, [block.get(name) for block in blocks]) for name in rows.systems(blocks)]
    if any(merged):
        mine = [block.get("edgestream") for block in merged]
        lines.insert(1, ("edgestream", f"  … {MERGED}", mine))
    values = [
        value for _, _, pair in lines for row in pair if (value := rows.figure(row, "cpu µs/token"))
    ]
    if not values:
        return None
    scale = WIDTH / max(values)
    drawing = Drawing(
        int(LEFT + WIDTH + 150), int(TOP + GROUP * len(lines) + 16),
        "CPU per delivered token",
        f"800 sessions of {RATE} tokens/s, each to one subscriber; µs of one core; "
        "shorter is better",
    )  # fmt: skip
    drawing.text(24, 82, "upper bar: one publish per message  ·  lower bar: arrays", "soft small")
    for n, (system, name, pair) in enumerate(lines):
        _group(drawing, TOP + GROUP * n, system, name, pair, scale)
    return drawing.render()


def _group(
    drawing: Drawing, top: float, system: str, name: str, pair: list[rows.Row | None], scale: float
) -> None:
    bold = "ink bold" if name == "edgestream" else "ink"
    drawing.text(LEFT - 14, top + BAR + 4, name.strip(), bold, "end")
    for n, row in enumerate(pair):
        y, value = top + n * (BAR + 3), rows.figure(row, "cpu µs/token")
        if row is None:
            continue
        if value is None:
            drawing.text(LEFT, y + BAR - 3, "no valid run", "soft small")
            continue
        style = f"f{colour(system)}" + (" pale" if n else "")
        drawing.rect(LEFT, y, value * scale, BAR, style, 3)
        full = any("saturated" in told for told in row["told"])
        words = f"{value:.1f} µs" + (" (saturated)" if full else "")
        drawing.text(LEFT + value * scale + 8, y + BAR - 3, words, "ink small")
