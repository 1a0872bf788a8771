"""``python -m bench``: run the scenarios, print the tables, keep the result as JSON."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from bench import bars, environment, generator, machine, options, report, results, runs
from bench.plan import Run
from bench.processes import DidNotStart
from bench.scenario import Cores
from bench.scenarios import SCENARIOS
from bench.scenarios.sessions import SESSIONS
from bench.systems import EDGESTREAM, SYSTEMS, System


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 if edgestream lost, repeated, reordered or altered a token, or if
    anything did not start."""
    chosen = options.parse(argv, __doc__)
    cores = settle()
    try:
        environment.compile_load()
    except environment.Unavailable as error:
        print(f"Skipped: every scenario: the generator cannot be compiled: {error}")
        return 1
    systems, skipped = available(chosen.systems)
    print("\n".join(skipped))
    result = results.Result(machine=machine.describe(systems), skipped=skipped)
    result.settings = chosen.settings
    print(result.heading(), flush=True)
    try:
        if chosen.ceiling:
            result.ceiling += runs.ceilings(SESSIONS, chosen.settings.times, cores)
            print("\n".join(report.ceiling_lines(result.ceiling)), flush=True)
        for name in chosen.scenario:
            _measure(result, name, systems, cores)
    except DidNotStart as error:
        print(f"FAILED: {error}")
        return 1
    print("\n".join(["", *result.lines()]))
    kept = result.keep(chosen.json)
    print(f"{len(result.runs)} runs in {result.took:.0f} s; {kept}")
    return 1 if any(run.problems and run.system == EDGESTREAM.name for run in result.runs) else 0


def settle() -> Cores:
    """Go to the load's core, and end what was started when told to end; the cores."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    cores = generator.cores()
    if cores[1] is None:
        print("! One core only: the generator and the system share it. Do not trust the figures.")
    else:
        os.sched_setaffinity(0, {cores[1]})
    return cores


def available(names: Sequence[str]) -> tuple[list[System], list[str]]:
    """The systems that can be started here; and why the others cannot."""
    found, skipped = [], []
    for name in names:
        try:
            SYSTEMS[name].prepare()
        except environment.Unavailable as error:
            skipped.append(f"Skipped: {name}: {error}")
        else:
            found.append(SYSTEMS[name])
    return found, skipped


def _measure(result: results.Result, name: str, systems: Sequence[System], cores: Cores) -> None:
    mine = []
    for run in runs.every(SCENARIOS[name], systems, result.settings, cores):
        mine.append(run)
        _progress(run)
    rows = report.rows(SCENARIOS[name], mine)
    result.tables += [*report.table(SCENARIOS[name], rows), ""]
    result.summary += rows
    result.bars = bars.verdicts(result.summary)
    result.runs += mine


def _progress(run: Run) -> None:
    state = "FAILED" if run.problems else "invalid" if run.doubts else "ok"
    told = "".join(f"\n    {what}" for what in [*run.problems[:2], *run.doubts, *run.notes])
    figures = ", ".join(f"{name} {value:,.2f}" for name, value in list(run.figures.items())[:3])
    print(
        f"  {run.scenario}, {run.variant}, {run.system}, {run.repeat + 1}: {state}; "
        f"{figures}{told}",
        file=sys.stderr,
        flush=True,
    )


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
