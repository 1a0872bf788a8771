"""What the tables say of runs that failed, or cannot be trusted."""

import math

from msgspec.structs import replace

from bench import report
from bench.plan import Run
from bench.scenario import Column, Scenario

SCENARIO = Scenario(
    name="s",
    about="",
    variants=lambda settings: [],
    figures=lambda measured: {},
    columns=(Column("cpu", "CPU", per=("a",)),),
)


def run(system: str, cpu: float, **found: list[str]) -> Run:
    return Run(
        scenario="s",
        variant="v",
        system=system,
        repeat=0,
        figures={"cpu": cpu},
        **found,  # type: ignore[arg-type]
    )


def table(*runs: Run) -> str:
    return "\n".join(report.table(SCENARIO, report.rows(SCENARIO, runs)))


def test_ratios_are_to_the_systems_that_the_column_names() -> None:
    """Twice the CPU is a ratio of two; in a column of its own."""
    lines = table(run("a", 10.0), run("b", 20.0)).splitlines()

    assert "÷ a" in lines[6]
    assert [cell.strip() for cell in lines[9].split("|")] == ["", "b", "20.0", "2.00×", ""]


def test_there_is_no_ratio_to_an_invalid_figure() -> None:
    """Neither where the first system's runs are invalid, nor where its rival's are."""
    doubt = ["the generator was late"]

    assert "×" not in table(run("a", 10.0, doubts=doubt), run("b", 20.0))
    assert "×" not in table(run("a", 10.0), run("b", 20.0, doubts=doubt))


def test_what_never_ends_says_so() -> None:
    """An infinite figure has words of its own."""
    column = Column("cpu", "CPU", infinite="never")
    scenario = replace(SCENARIO, columns=(column,))
    rows = report.rows(scenario, [run("a", math.inf)])

    assert "never" in "\n".join(report.table(scenario, rows))


def test_an_invalid_run_does_not_move_the_median() -> None:
    """It is left out as long as another one is valid."""
    runs = [run("a", 10.0), run("a", 99.0, doubts=["noise"]), run("a", 12.0)]
    (row,) = report.rows(SCENARIO, runs)

    assert row.medians["cpu"] == 11.0
    assert row.valid


def test_a_failed_run_has_no_figures() -> None:
    """It says FAILED, and why."""
    runs = [run("a", 10.0, problems=["lost before token 3"])]

    assert "FAILED" in table(*runs)
    assert "lost before token 3" in table(*runs)
    assert report.failures(runs) == ["FAILED: a, s, v, repeat 1: lost before token 3"]
