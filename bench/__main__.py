"""``python -m bench``: run the scenarios, print the tables, keep the result as JSON."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import environment, generator, machine, report, runs
from bench.plan import Run, Times
from bench.scenario import Settings
from bench.scenarios import SCENARIOS
from bench.scenarios.sessions import SESSIONS
from bench.systems import EDGESTREAM, ROOT, SYSTEMS, DidNotStart, System

RESULTS = ROOT / "bench" / "results"
METHOD = (
    "Every token is accounted for. CPU is user and system time of the system's processes, all "
    "threads, in the window after the warm-up. Latency is from publish to receive, by one "
    "monotonic clock. Medians over the repeats, systems interleaved. (bench/README.md)"
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 if any run lost, repeated or reordered a token, or did not start."""
    options = _options(argv)
    began = time.time()
    cores = generator.cores()
    if cores[1] is None:
        print("! One core only: the generator and the system share it. Do not trust the figures.")
    else:
        os.sched_setaffinity(0, {cores[1]})
    try:
        environment.compile_load()
    except environment.Unavailable as error:
        print(f"Skipped: every scenario: the generator cannot be compiled: {error}")
        return 1
    systems = _available(options.systems)
    about = machine.describe(systems)
    print(
        f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, Python "
        f"{about['python']}; " + ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    )
    settings = _settings(options)
    ceilings: list[Run] = []
    done: list[Run] = []
    tables: list[str] = []
    summary: list[report.Row] = []
    try:
        if options.ceiling:
            ceilings += runs.ceilings(SESSIONS, settings.times, cores)
            print("\n".join(report.ceiling_lines(ceilings)), flush=True)
        for name in options.scenario:
            mine = []
            for run in runs.every(SCENARIOS[name], systems, settings, cores):
                mine.append(run)
                _progress(run)
            rows = report.rows(SCENARIOS[name], mine)
            tables += [*report.table(SCENARIOS[name], rows), ""]
            summary += rows
            done += mine
    except DidNotStart as error:
        print(f"FAILED: {error}")
        return 1
    failed = report.failures([*ceilings, *done])
    print("\n".join(["", *tables, *failed]))
    kept = options.json or RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    result = {
        "method": METHOD,
        "machine": about,
        "began": began,
        "took": time.time() - began,
        "settings": settings,
        "ceiling": ceilings,
        "summary": summary,
        "runs": done,
    }
    _keep(kept, result)
    (kept.parent / "latest.md").write_text("\n".join(tables))
    print(f"{len(done)} runs in {time.time() - began:.0f} s; {kept}")
    return 1 if failed else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, nargs="+", default=list(SCENARIOS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument(
        "--variant", nargs="+", metavar="TEXT", help="only those with it in their name"
    )
    parser.add_argument("--rate", type=int, nargs="+", help="tokens/s of a session (50 and 100)")
    parser.add_argument("--seconds", type=float, help="the measured window (10)")
    parser.add_argument("--repeat", type=int, help="(3)")
    parser.add_argument("--no-ceiling", dest="ceiling", action="store_false")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the result goes")
    parser.add_argument("--quick", action="store_true", help="a look, in a few minutes")
    options = parser.parse_args(argv)
    # The first is what ratios refer to.
    options.systems = sorted(options.systems, key=lambda name: name != EDGESTREAM.name)
    return options


def _settings(options: argparse.Namespace) -> Settings:
    quick = options.quick
    return Settings(
        times=Times(seconds=options.seconds or (2.0 if quick else 10.0)),
        repeat=options.repeat or (1 if quick else 3),
        scale=5 if quick else 1,
        only=tuple(options.variant or [""]),
        rates=tuple(options.rate or ([100] if quick else [50, 100])),
    )


def _available(names: Sequence[str]) -> list[System]:
    """The systems that can be started here; the others are told."""
    found = []
    for name in names:
        try:
            SYSTEMS[name].prepare()
        except environment.Unavailable as error:
            print(f"Skipped: {name}: {error}")
        else:
            found.append(SYSTEMS[name])
    return found


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


def _keep(path: Path, result: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.encode(result, enc_hook=str)
    path.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
