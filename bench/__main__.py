"""``python -m bench``: run the scenarios, print the tables, keep the result as JSON."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench import machine, report, runs
from bench.plan import Run, Variant
from bench.systems import EDGESTREAM, ROOT, SYSTEMS, DidNotStart

METHOD = (
    "Each session publishes at its rate and has one subscriber; every token is accounted for. "
    "CPU is user and system time of the system's processes, all threads, in the window after "
    "the warm-up, by the tokens delivered in it. Latency is from publish to receive in the "
    "generator's process. Medians over the repeats, systems interleaved. (bench/README.md)"
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 if any run lost, repeated or reordered a token, or did not start."""
    options = _options(argv)
    settings = runs.Settings(
        sessions=options.sessions,
        seconds=options.seconds,
        repeat=options.repeat,
        publishers=options.publishers,
        array_publishers=options.array_publishers,
        connections=options.connections,
        cores=runs.default_cores(),
    )
    systems = [SYSTEMS[name] for name in options.systems]
    about = machine.describe(systems)
    print(
        f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, Python "
        f"{about['python']}; " + ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    )
    if settings.cores.system is None:
        print("! One core only: the generator and the system share it. Do not trust the figures.")
    began = time.time()
    done: list[Run] = []
    ceilings: list[Run] = []
    try:
        if options.ceiling:
            ceilings += runs.ceilings(settings)
            print("\n".join(report.ceiling_lines(ceilings)), flush=True)
        for run in runs.every(_variants(options), systems, settings):
            done.append(run)
            _progress(run)
    except DidNotStart as error:
        print(f"FAILED: {error}")
        return 1
    failed = report.failures([*ceilings, *done])
    print("\n".join([*report.table(done), "", *failed]))
    kept = options.json or ROOT / "bench" / "results" / time.strftime("%Y%m%d-%H%M%S.json")
    _keep(
        kept,
        {
            "method": METHOD,
            "machine": about,
            "began": began,
            "took": time.time() - began,
            "settings": settings,
            "ceiling": ceilings,
            "summary": report.summary(done),
            "runs": done,
        },
    )
    print(f"{len(done)} runs in {time.time() - began:.0f} s; {kept}")
    return 1 if failed else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scenario", choices=("sessions", "idle", "all"), default="all")
    parser.add_argument("--sessions", type=int, help="(800)")
    parser.add_argument(
        "--rate", type=int, action="append", help="tokens/s of a session (100 and 50)"
    )
    parser.add_argument("--codec", choices=("json", "msgpack"), action="append", help="(json)")
    parser.add_argument("--mode", choices=("one", "arrays"), help="only that way of publishing")
    parser.add_argument("--acks", choices=("yes", "no"), help="only with or without acks")
    parser.add_argument("--publishers", type=int, default=0, help="(0: one per session)")
    parser.add_argument("--array-publishers", type=int, default=40)
    parser.add_argument("--connections", type=int, help="of the idle scenario (2000)")
    parser.add_argument("--seconds", type=float, help="the measured window (5)")
    parser.add_argument("--repeat", type=int, help="(3)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--no-ceiling", dest="ceiling", action="store_false")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the result goes")
    parser.add_argument("--quick", action="store_true", help="a look, in about a minute")
    options = parser.parse_args(argv)
    small = options.quick
    options.sessions = options.sessions or (100 if small else 800)
    options.rate = options.rate or ([100] if small else [100, 50])
    options.seconds = options.seconds or (2.0 if small else 5.0)
    options.repeat = options.repeat or (1 if small else 3)
    options.connections = options.connections or (500 if small else 2000)
    options.codec = options.codec or ["json"]
    if EDGESTREAM.name in options.systems:  # the first is what ratios refer to
        options.systems = sorted(options.systems, key=lambda name: name != EDGESTREAM.name)
    return options


def _variants(options: argparse.Namespace) -> list[Variant]:
    chosen: list[Variant] = []
    if options.scenario in ("sessions", "all"):
        chosen += [
            variant
            for variant in runs.session_variants(options.rate, options.codec)
            if options.mode in (None, "arrays" if variant.batch else "one")
            and options.acks in (None, "yes" if variant.acks else "no")
        ]
    if options.scenario in ("idle", "all"):
        chosen.append(runs.IDLE)
    return chosen


def _progress(run: Run) -> None:
    result = run.result
    state = "FAILED" if result.problems else "invalid" if result.doubts else "ok"
    print(
        f"  {run.variant.name}, {run.system}, {run.repeat + 1}: {state}, "
        f"{result.received:,} of {result.sent:,} tokens",
        file=sys.stderr,
        flush=True,
    )


def _keep(path: Path, result: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.encode(result, enc_hook=str)
    path.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
