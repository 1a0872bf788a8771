"""What the tables say of runs that failed, or cannot be trusted."""

from bench import report
from bench.plan import Run
from bench.scenario import Column, Scenario

SCENARIO = Scenario(
    name="s",
    about="",
    variants=lambda settings: [],
    figures=lambda measured: {},
    columns=(Column("cpu", "CPU", ratio=True),),
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


def test_ratios_are_to_the_first_system() -> None:
    """Twice the CPU is a ratio of two."""
    assert "20.0 (2.00×)" in table(run("a", 10.0), run("b", 20.0))


def test_there_is_no_ratio_to_an_invalid_figure() -> None:
    """Neither where the first system's runs are invalid, nor where its rival's are."""
    doubt = ["the generator was late"]

    assert "×" not in table(run("a", 10.0, doubts=doubt), run("b", 20.0))
    assert "×" not in table(run("a", 10.0), run("b", 20.0, doubts=doubt))


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
    assert report.failures(runs) == ["FAILED: a, s, v, repeat 1: lost before token 3"]
