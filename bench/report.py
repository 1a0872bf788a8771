"""Runs → a row for each variant and system: medians over the repeats, ratios; and the tables."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from bench.plan import Run
from bench.scenario import Column, Scenario
from bench.tables import aligned


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
    columns = scenario.columns if counted else ()
    values = {column: [run.figures[column.figure] for run in counted] for column in columns}
    told = [
        f"{run.system}, repeat {run.repeat + 1}: {what}"
        for run in runs
        for what in ([f"FAILED: {_why(run)}"] if run.problems else [*run.doubts, *run.notes])
    ]
    return Row(
        scenario=scenario.name,
        variant=runs[0].variant,
        system=runs[0].system,
        runs=len(counted),
        valid=bool(valid),
        medians={column.figure: column.of(v) for column, v in values.items()},
        spreads={column.figure: (max(v) - min(v)) / 2 for column, v in values.items()},
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
    """Markdown: a block for each variant, a line for each system."""
    lines = [f"### {scenario.name}", "", f"{scenario.about}"]
    for variant in dict.fromkeys(row.variant for row in summary):
        mine = [row for row in summary if row.variant == variant]
        columns = [column for named in scenario.columns for column in _expanded(named, mine)]
        cells = [["system", *(heading for heading, _ in columns)]]
        cells += [_line(row, [cell(row) for _, cell in columns]) for row in mine]
        lines += ["", f"**{variant}**", "", *aligned(cells)]
        told = [what for row in mine for what in row.told]
        lines += ["", *(f"- {what}" for what in told)] if told else []
    return lines


def failures(runs: Sequence[Run]) -> list[str]:
    """Every run that did not reconcile, and why: the first reason, and the account's end."""
    return [
        f"FAILED: {run.system}, {run.scenario}, {run.variant}, repeat {run.repeat + 1}: {_why(run)}"
        for run in runs
        if run.problems
    ]


def _why(run: Run) -> str:
    return "; ".join(dict.fromkeys([run.problems[0], run.problems[-1]]))


Cell = Callable[[Row], str]


def _expanded(column: Column, rows: Sequence[Row]) -> list[tuple[str, Cell]]:
    """The figure, and its ratios to others, with their headings."""
    figure = column.figure
    found: list[tuple[str, Cell]] = [(column.heading, lambda row: _cell(column, row))]
    for name in column.per:
        other = next((row for row in rows if row.system == name), None)
        if other and len(rows) > 1:
            found.append((f"÷ {name}", partial(_ratio, figure, other)))
    if column.versus and (base := rows[0].base):
        found.append((f"÷ {base}", lambda row: _times(row.versus.get(figure))))
    return found


def _line(row: Row, cells: Sequence[str]) -> list[str]:
    if not row.runs:
        return [row.system, "FAILED", *("" for _ in cells[1:])]
    return [row.system if row.valid else f"{row.system} INVALID", *cells]


def _cell(column: Column, row: Row) -> str:
    if not row.runs:
        return ""
    value = row.medians[column.figure]
    if math.isinf(value):
        return column.infinite
    text = column.form.format(value)
    if column.spread and row.runs > 1:
        text += f" ±{column.form.format(row.spreads[column.figure])}"
    return text


def _ratio(figure: str, other: Row, row: Row) -> str:
    if row is other or not (row.valid and other.valid and other.medians[figure]):
        return ""
    return _times(row.medians[figure] / other.medians[figure])


def _times(ratio: float | None) -> str:
    return f"{ratio:.2f}×" if ratio else ""
