"""The table: a block for each transport, a line for each system."""

import math
from collections.abc import Sequence
from statistics import median

from bench.slow.figures import floored
from bench.slow.plan import Run

HEADS = (
    "system", "text", "late p50 / p99", "complete after", "connection",
    "bystander p50 / p99 / max", "p99 first / last third", "KB", "messages", "merged", "the bar",
)  # fmt: skip


def table(runs: Sequence[Run]) -> list[str]:
    """Medians over the repeats; text, the connection and the bar are of the worst."""
    lines: list[str] = []
    for transport in dict.fromkeys(run.transport for run in runs):
        mine = [run for run in runs if run.transport == transport]
        systems = dict.fromkeys(run.system for run in mine)
        rows = [_cells(name, [run for run in mine if run.system == name]) for name in systems]
        cells = [list(HEADS), *rows]
        lines += ["", f"**{transport}**", "", *_aligned(cells), ""]
        lines += [
            f"- {run.system}, repeat {run.repeat + 1}: {'; '.join([*run.bar, *run.notes])}"
            for run in mine
            if run.bar or run.notes
        ]
    return lines


def _cells(system: str, runs: Sequence[Run]) -> list[str]:
    def middle(name: str) -> float:
        return median(run.figures[name] for run in runs)

    def seconds(*names: str) -> str:
        return " / ".join(_rounded(middle(name)) for name in names) + " s"

    text = min(run.figures["text %"] for run in runs)
    drain = max(run.figures["drain s"] for run in runs)
    alive = min(run.figures["alive s"] for run in runs)
    exact = not any(run.received.problems for run in runs)
    return [
        system,
        "all" if math.isfinite(drain) and exact else floored(text),
        seconds("text p50 s", "text p99 s"),
        _rounded(drain) + " s" if math.isfinite(drain) else "never",
        "lives" if math.isinf(alive) else f"ended at {alive:.0f} s",
        seconds("p50 s", "p99 s", "max s"),
        seconds("first third p99 s", "last third p99 s"),
        f"{middle('KB'):,.0f}",
        f"{middle('messages'):,.0f}",
        f"{middle('merged %'):.0f} %",
        "met" if not any(run.bar for run in runs) else "missed",
    ]


def _rounded(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [cells[0], rule, *cells[1:]]
    return ["| " + " | ".join(_padded(line, widths)) + " |" for line in lines]


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
