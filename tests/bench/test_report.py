"""What the tables say of runs that failed, or cannot be trusted."""

from bench import report
from bench.plan import Generator, Latency, Load, Result, Run, Usage, Variant


def run(system: str, cpu_us: float, **found: list[str]) -> Run:
    result = Result(
        cpu_us=cpu_us,
        delivered=100.0,
        latency=Latency(p50=1.0, p99=1.0, max=1.0),
        usage=Usage(cpu=0.5, wall=1.0, waited=0.0, rss=0),
        generator=Generator(share=0.1, waited=0.0, lag_p99=0.0, lag_max=0.0),
        **found,  # type: ignore[arg-type]
    )
    return Run(variant=Variant(name="v"), system=system, repeat=0, load=Load(port=1), result=result)


def test_ratios_are_to_the_first_system() -> None:
    """Twice the CPU is a ratio of two."""
    lines = "\n".join(report.table([run("a", 10.0), run("b", 20.0)]))

    assert "1.00×" in lines
    assert "2.00×" in lines


def test_there_is_no_ratio_to_an_invalid_figure() -> None:
    """Neither where the first system's runs are invalid, nor where its rival's are."""
    doubt = ["the generator was late"]

    assert "×" not in "\n".join(report.table([run("a", 10.0, doubts=doubt), run("b", 20.0)]))
    assert "2.00×" not in "\n".join(report.table([run("a", 10.0), run("b", 20.0, doubts=doubt)]))


def test_an_invalid_run_does_not_move_the_median() -> None:
    """It is left out as long as another one is valid."""
    (row,) = report.summary([run("a", 10.0), run("a", 99.0, doubts=["noise"]), run("a", 12.0)])

    assert row["cpuMicrosPerToken"] == 11.0
    assert row["valid"]


def test_a_failed_run_has_no_figures() -> None:
    """It says FAILED, with every problem named."""
    runs = [run("a", 10.0, problems=["lost before token 3"])]

    assert "FAILED" in "\n".join(report.table(runs))
    assert report.failures(runs) == ["FAILED: a, v, repeat 1: lost before token 3"]
