"""Runs → a row for each variant and system: medians over the repeats, ratios; and the tables."""

from collections.abc import Mapping, Sequence
from statistics import median

from msgspec import Struct
from msgspec.structs import replace

from bench.plan import Run
from bench.scenario import Column, Scenario


class Row(Struct, frozen=True, kw_only=True):
    """The repeats of one variant on one system: of the valid runs, or of all where none is.

    Attributes:
        runs: how many are in the medians; 0 where all have failed.
        base: the variant that it is compared with, and `versus`, by what factor, each figure.
        told: what has to be known of its runs.
    """

    scenario: str
    variant: str
    system: str
    runs: int
    valid: bool
    medians: Mapping[str, float]
    spreads: Mapping[str, float] = {}
    base: str = ""
    versus: Mapping[str, float] = {}
    told: list[str] = []


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


def rows(scenario: Scenario, runs: Sequence[Run]) -> list[Row]:
    """One for each variant and system, in the order of the runs."""
    places = dict.fromkeys((run.variant, run.system) for run in runs)
    found = {
        place: _row(scenario, [run for run in runs if (run.variant, run.system) == place])
        for place in places
    }
    return [
        replace(row, versus=_versus(row, found.get((row.base, row.system))))
        for row in found.values()
    ]


def _row(scenario: Scenario, runs: Sequence[Run]) -> Row:
    passed = [run for run in runs if not run.problems]
    valid = [run for run in passed if not run.doubts]
    counted = valid or passed
    figures = [column.figure for column in scenario.columns] if counted else []
    values = {figure: [run.figures[figure] for run in counted] for figure in figures}
    told = [
        f"{run.system}, repeat {run.repeat + 1}: {what}"
        for run in runs
        for what in [*run.doubts, *run.notes]
    ]
    return Row(
        scenario=scenario.name,
        variant=runs[0].variant,
        system=runs[0].system,
        runs=len(counted),
        valid=bool(valid),
        medians={figure: median(v) for figure, v in values.items()},
        spreads={figure: (max(v) - min(v)) / 2 for figure, v in values.items()},
        base=runs[0].base,
        told=told,
    )


def _versus(row: Row, base: Row | None) -> dict[str, float]:
    if not base or not (row.valid and base.valid):
        return {}
    return {
        figure: value / base.medians[figure]
        for figure, value in row.medians.items()
        if base.medians.get(figure)
    }


def table(scenario: Scenario, summary: Sequence[Row]) -> list[str]:
    """Markdown: a block for each variant, a line for each system, the first being the measure."""
    lines = [f"### {scenario.name}", "", f"{scenario.about}"]
    for variant in dict.fromkeys(row.variant for row in summary):
        mine = [row for row in summary if row.variant == variant]
        headings, base = ["system"], mine[0].base
        for column in scenario.columns:
            headings.append(column.heading)
            if column.versus and base:
                headings.append(f"÷ {base}")
        cells = [headings, *(_cells(scenario.columns, row, mine[0]) for row in mine)]
        lines += ["", f"**{variant}**", "", *_aligned(cells)]
        told = [what for row in mine for what in row.told]
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


def _cells(columns: Sequence[Column], row: Row, first: Row) -> list[str]:
    cells = [row.system if row.valid else f"{row.system} INVALID"]
    for column in columns:
        cells.append(_cell(column, row, first) if row.runs else "")
        if column.versus and row.base:
            ratio = row.versus.get(column.figure)
            cells.append(f"{ratio:.2f}×" if ratio else "")
    if not row.runs:
        cells[:2] = [row.system, "FAILED"]
    return cells


def _cell(column: Column, row: Row, first: Row) -> str:
    value = row.medians[column.figure]
    text = column.form.format(value)
    if column.spread and row.runs > 1:
        text += f" ±{column.form.format(row.spreads[column.figure])}"
    base = first.medians.get(column.figure)
    if column.ratio and row is not first and base and row.valid and first.valid:
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
