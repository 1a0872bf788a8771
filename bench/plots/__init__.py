"""Plots of a result, as SVG. `python -m bench.plots RESULT.json FOLDER` draws them again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench.plots import cpu, lag, waits

PLOTS: dict[str, Callable[[Any], str | None]] = {
    "bench-flood": waits.plot,
    "bench-slow-reader": lag.plot,
    "bench-cpu": cpu.plot,
}


def draw(result: Path, folder: Path) -> list[Path]:
    """Those plots that there are figures for."""
    found = msgspec.json.decode(result.read_bytes())
    drawn = []
    for name, plot in PLOTS.items():
        if text := plot(found):
            drawn.append(folder / f"{name}.svg")
            drawn[-1].write_text(text)
    return drawn
