"""``python -m bench.slow``: one connection over a slow link, with eight answers on it.

Eight sessions of 100 tokens a second, and 50 events a second of a bystander in another
namespace, all to one connection behind 512 kbit/s: about a third of what they take.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import environment, machine
from bench.slow import report, runs
from bench.slow.link import Link, slow_link
from bench.slow.plan import TRANSPORTS, Load, Run
from bench.slow.systems import MEASURED
from bench.systems import ROOT, SYSTEMS

METHOD = (
    "One connection, subscribed to every session's tokens and to the bystander, behind the link. "
    "Each token is checked: its place, its text; a merged event against the texts of its tokens. "
    "The bystander's events carry when they were due, by the machine's one monotonic clock; one "
    "that never came counts as late as the reader waited. KB and messages are what the reader "
    "got, without TLS. A reader that has not got all gives up after the drain time. "
    "The system (and nginx) on one core, publishers and reader on another. (bench/slow/README.md)"
)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 if edgestream missed the bar, or anything did not start."""
    options = _options(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    began = time.time()
    names = _available(options.systems)
    about = machine.describe([SYSTEMS[name] for name in names])
    load = Load(seconds=options.seconds, drain=options.drain)
    with slow_link(options.kbit, congestion=options.congestion, paced=options.throttled) as link:
        print(f"The link: {link.about}", flush=True)
        done = list(_every(names, options, load, link))
    print("\n".join(report.table(done)))
    result = {
        "scenario": "slow-reader",
        "method": METHOD,
        "link": link.about,
        "machine": about,
        "began": began,
        "took": time.time() - began,
        "load": load,
        "runs": done,
    }
    kept = options.json or ROOT / "bench/results" / time.strftime("slow-%Y%m%d-%H%M%S.json")
    _keep(kept, result)
    print(f"\n{len(done)} runs in {time.time() - began:.0f} s; {kept}")
    return 1 if not done or any(run.bar and run.system == "edgestream" for run in done) else 0


def _every(
    names: Sequence[str], options: argparse.Namespace, load: Load, link: Link
) -> Iterator[Run]:
    """Each system with each transport, A B A B; what cannot be is told."""
    for transport in options.transports:
        for repeat in range(options.repeat):
            for name in names:
                try:
                    run = runs.once(name, transport, repeat, load, link)
                except (runs.Unavailable, runs.Failed) as error:
                    print(f"Skipped: {name}, {transport}: {error}", flush=True)
                else:
                    _progress(run)
                    yield run


def _progress(run: Run) -> None:
    told = "; ".join(run.bar or ["met"]) + "".join(f" ({note})" for note in run.notes)
    figures = ", ".join(f"{name} {value:.2f}" for name, value in run.figures.items())
    print(f"  {run.system}, {run.transport}: {told}\n    {figures}", file=sys.stderr, flush=True)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.slow", description=__doc__)
    parser.add_argument("--systems", nargs="+", choices=MEASURED, default=list(MEASURED))
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=list(TRANSPORTS))
    parser.add_argument("--seconds", type=float, default=60.0, help="how long is published (60)")
    parser.add_argument("--drain", type=float, default=60.0, help="how long is waited then (60)")
    parser.add_argument("--repeat", type=int, default=1, help="(1)")
    parser.add_argument("--kbit", type=int, default=512, help="the link's rate, in kbit/s (512)")
    parser.add_argument("--congestion", default="", help="TCP's, if not the machine's: cubic, bbr")
    parser.add_argument("--throttled", action="store_true", help="no network namespace")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the result goes")
    return parser.parse_args(argv)


def _available(names: Sequence[str]) -> list[str]:
    """The systems that can be started here; the others are told."""
    found = []
    for name in names:
        try:
            SYSTEMS[name].prepare()
        except environment.Unavailable as error:
            print(f"Skipped: {name}: {error}")
        else:
            found.append(name)
    return found


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _keep(path: Path, result: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.encode(result)
    path.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
