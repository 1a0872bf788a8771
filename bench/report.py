"""Runs → medians over the repeats, ratios, and the tables on standard output."""

from collections.abc import Callable, Sequence
from statistics import median

from bench.plan import Run

WIDTHS = (20, 10, 14, 8, 6, 9, 9, 9, 9, 9, 9)
HEAD = (
    "system", "tokens/s", "CPU µs/token", "ratio", "CPU", "p50 ms", "p99 ms", "max ms",
    "gen CPU", "lag p99", "RSS MiB",
)  # fmt: skip


def ceiling_lines(runs: Sequence[Run]) -> list[str]:
    """The generator's own ceiling, from its runs against the sink."""
    lines = ["The generator against a sink, unpaced (its own ceiling):"]
    for run in runs:
        result = run.result
        if not result.generator or not result.delivered:
            lines.append(f"  {run.variant.name}: failed")
            continue
        share = result.generator.share
        own = share / result.delivered * 1e6
        limit = "the generator" if share > 0.95 else f"the sink; {1e6 / own:,.0f} by its CPU"
        lines.append(
            f"  {run.variant.name:<28}{result.delivered:>9,.0f} tokens/s, {own:.2f} µs a token "
            f"(limited by {limit})"
        )
    return lines


def table(runs: Sequence[Run]) -> list[str]:
    """One block for each variant, one line for each system, the first being the measure."""
    lines: list[str] = []
    for variant in dict.fromkeys(run.variant.name for run in runs):
        mine = [run for run in runs if run.variant.name == variant]
        idle = mine[0].variant.scenario == "idle"
        lines += ["", variant, *(_idle(mine) if idle else _sessions(mine))]
        for run in mine:
            told = [*run.result.doubts, *run.result.notes]
            lines += [f"    ! {run.system}, repeat {run.repeat + 1}: {what}" for what in told]
    return lines


def failures(runs: Sequence[Run]) -> list[str]:
    """Every run that did not reconcile, and why."""
    return [
        f"FAILED: {run.system}, {run.variant.name}, repeat {run.repeat + 1}: {problem}"
        for run in runs
        for problem in run.result.problems
    ]


def summary(runs: Sequence[Run]) -> list[dict[str, object]]:
    """The medians, as they go into the JSON result."""
    rows: list[dict[str, object]] = []
    for variant in dict.fromkeys(run.variant.name for run in runs):
        for system, good, valid in _by_system([r for r in runs if r.variant.name == variant]):
            rows.append(
                {
                    "variant": variant,
                    "system": system,
                    "runs": len(good),
                    "valid": valid,
                    "tokensPerSecond": _median(good, _delivered),
                    "cpuMicrosPerToken": _median(good, _cpu),
                    "cpuShare": _median(good, _busy),
                    "p50Ms": _median(good, _p50),
                    "p99Ms": _median(good, _p99),
                    "maxMs": _median(good, _max),
                    "idleKiB": _median(good, lambda run: run.result.idle_kib),
                    "subscribedKiB": _median(good, lambda run: run.result.subscribed_kib),
                }
            )
    return rows


def _by_system(runs: Sequence[Run]) -> list[tuple[str, list[Run], bool]]:
    """Each system's runs that count: the valid ones, or all where none is."""
    found = []
    for system in dict.fromkeys(run.system for run in runs):
        passed = [run for run in runs if run.system == system and not run.result.problems]
        valid = [run for run in passed if not run.result.doubts]
        found.append((system, valid or passed, bool(valid)))
    return found


def _sessions(runs: Sequence[Run]) -> list[str]:
    lines = [_row(HEAD)]
    base = 0.0
    for system, good, valid in _by_system(runs):
        if not good:
            lines.append(_row((system, "FAILED")))
            continue
        cpu = _median(good, _cpu)
        if system == runs[0].system:
            base = cpu if valid else 0.0  # there is no ratio to, or of, an invalid figure
        spread = f" ±{(max(map(_cpu, good)) - min(map(_cpu, good))) / 2:.1f}"
        lines.append(
            _row(
                (
                    system if valid else f"{system} INVALID",
                    f"{_median(good, _delivered):,.0f}",
                    f"{cpu:.2f}{spread}",
                    f"{cpu / base:.2f}×" if base and valid else "-",
                    f"{_median(good, _busy):.0%}",
                    f"{_median(good, _p50):.2f}",
                    f"{_median(good, _p99):.2f}",
                    f"{_median(good, _max):.1f}",
                    f"{_median(good, _share):.0%}",
                    f"{_median(good, _lag):.1f} ms",
                    f"{_median(good, _rss):.0f}",
                )
            )
        )
    return lines


def _idle(runs: Sequence[Run]) -> list[str]:
    lines = [f"{'system':<14}{'KiB each':>12}{'subscribed':>12}{'ratio':>8}"]
    base = 0.0
    for system, good, _ in _by_system(runs):
        if not good:
            lines.append(f"{system:<14}{'FAILED':>12}")
            continue
        plain = _median(good, lambda run: run.result.idle_kib)
        subscribed = _median(good, lambda run: run.result.subscribed_kib)
        base = base or plain
        ratio = f"{plain / base:.2f}×" if base else ""
        lines.append(f"{system:<14}{plain:>12.1f}{subscribed:>12.1f}{ratio:>8}")
    return lines


def _row(cells: Sequence[str]) -> str:
    first, *rest = zip(cells, WIDTHS, strict=False)
    return f"{first[0]:<{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest)


def _median(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    return median(map(value, runs)) if runs else 0.0


def _delivered(run: Run) -> float:
    return run.result.delivered


def _cpu(run: Run) -> float:
    return run.result.cpu_us


def _busy(run: Run) -> float:
    return run.result.usage.cpu / run.result.usage.wall if run.result.usage else 0.0


def _p50(run: Run) -> float:
    return run.result.latency.p50 / 1e3 if run.result.latency else 0.0


def _p99(run: Run) -> float:
    return run.result.latency.p99 / 1e3 if run.result.latency else 0.0


def _max(run: Run) -> float:
    return run.result.latency.max / 1e3 if run.result.latency else 0.0


def _share(run: Run) -> float:
    return run.result.generator.share if run.result.generator else 0.0


def _lag(run: Run) -> float:
    return run.result.generator.lag_p99 if run.result.generator else 0.0


def _rss(run: Run) -> float:
    return run.result.usage.rss / 2**20 if run.result.usage else 0.0
