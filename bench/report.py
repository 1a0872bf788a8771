"""Runs → medians over the repeats, ratios, and the tables."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bench.plan import Run
from bench.scenario import Column, Scenario


def ceiling_lines(runs: Sequence[Run]) -> list[str]:
    """The generator's own ceiling, from its runs against the sink."""
    lines = ["The generator against a sink in C, as fast as they can:"]
    for run in runs:
        told = run.problems[0] if run.problems else _ceiling(run.figures)
        lines.append(f"  {run.variant:<18}{told}")
    return lines


def _ceiling(figures: Mapping[str, float]) -> str:
    rate, share = figures["tokens/s"], figures["generator cpu"]
    return f"{rate:>11,.0f} tokens/s; the generator used {share:.0f} % of its core"


def rows(scenario: Scenario, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The medians of each variant and system: of the valid runs, or of all where none is."""
    found: list[dict[str, Any]] = []
    for variant in dict.fromkeys(run.variant for run in runs):
        mine = [run for run in runs if run.variant == variant]
        for system in dict.fromkeys(run.system for run in mine):
            passed = [run for run in mine if run.system == system and not run.problems]
            valid = [run for run in passed if not run.doubts]
            counted = valid or passed
            figures = [column.figure for column in scenario.columns]
            values = {f: [run.figures[f] for run in counted] for f in figures}
            found.append(
                {
                    "scenario": scenario.name,
                    "variant": variant,
                    "system": system,
                    "runs": len(counted),
                    "valid": bool(valid),
                    "medians": {f: median(v) for f, v in values.items() if v},
                    "spreads": {f: (max(v) - min(v)) / 2 for f, v in values.items() if v},
                }
            )
    return found


def table(scenario: Scenario, runs: Sequence[Run]) -> list[str]:
    """Markdown: a block for each variant, a line for each system, the first being the measure."""
    summary = rows(scenario, runs)
    lines = [f"### {scenario.name}", "", f"{scenario.about}"]
    for variant in dict.fromkeys(row["variant"] for row in summary):
        mine = [row for row in summary if row["variant"] == variant]
        cells = [["system", *(column.heading for column in scenario.columns)]]
        cells += [_cells(scenario.columns, row, mine[0]) for row in mine]
        lines += ["", f"**{variant}**", "", *_aligned(cells)]
        told = {
            f"{run.system}, repeat {run.repeat + 1}: {what}": None
            for run in runs
            if run.variant == variant
            for what in [*run.doubts, *run.notes]
        }
        lines += ["", *(f"- {what}" for what in told)] if told else []
    return lines


def failures(runs: Sequence[Run]) -> list[str]:
    """Every run that did not reconcile, and why: the first reason, and the account's end."""
    return [
        f"FAILED: {run.system}, {run.scenario}, {run.variant}, repeat {run.repeat + 1}: "
        + "; ".join(dict.fromkeys([run.problems[0], run.problems[-1]]))
        for run in runs
        if run.problems
    ]


def _cells(
    columns: Sequence[Column], row: Mapping[str, Any], first: Mapping[str, Any]
) -> list[str]:
    if not row["runs"]:
        return [row["system"], "FAILED", *[""] * (len(columns) - 1)]
    name = row["system"] if row["valid"] else f"{row['system']} INVALID"
    return [name, *(_cell(column, row, first) for column in columns)]


def _cell(column: Column, row: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    value = row["medians"][column.figure]
    text = column.form.format(value)
    if column.spread and row["runs"] > 1:
        text += f" ±{column.form.format(row['spreads'][column.figure])}"
    base = first["medians"].get(column.figure)
    if column.ratio and row is not first and base and row["valid"] and first["valid"]:
        text += f" ({value / base:.2f}×)"
    return text


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [
        "| " + " | ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ) + " |"
        for line in [cells[0], rule, *cells[1:]]
    ]  # fmt: skip
