"""``python -m stress``, in the folder of the tests: run scenarios, a line for each."""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import uvloop

from .run import Run, quiet
from .scenarios import SCENARIOS

LIMIT = 600.0
"""Seconds after which a scenario hangs."""

ENOUGH = {"tokens": 1_000_000, "cuts": 1_000}
"""What all scenarios in full come to, at least."""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 if a law was broken in any scenario."""
    options = _options(argv)
    quiet()
    began = time.monotonic()
    done: Counter[str] = Counter()
    failed = []
    for name in options.scenario:
        with tempfile.TemporaryDirectory() as folder:
            run = Run(name, options.seed, Path(folder), long=not options.short)
            if not _passes(run):
                failed.append(name)
            done += Counter(tokens=run.tokens, cuts=run.counts["cuts"])
    told = ", ".join(f"{done[what]:,} {what}" for what in ENOUGH)
    law = "laws were broken" if failed else "0 lost, 0 repeated, 0 out of order"
    print(f"{told}: {law}; {time.monotonic() - began:.0f} s, seed {options.seed}")
    for name in failed:
        print(f"FAILED: {name}. Again: make stress SCENARIO={name} SEED={options.seed}")
    whole = not options.short and options.scenario == list(SCENARIOS)
    if whole and not failed and any(done[what] < least for what, least in ENOUGH.items()):
        print(f"FAILED: that was no stress: {ENOUGH} are the least")
        return 1
    return 1 if failed else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m stress", description=__doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, nargs="+", default=list(SCENARIOS))
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--short", action="store_true", help="as in the test suite")
    return parser.parse_args(argv)


def _passes(run: Run) -> bool:
    began = time.monotonic()
    try:
        uvloop.run(asyncio.wait_for(SCENARIOS[run.name](run), LIMIT))
    except Exception:
        traceback.print_exc()
        print(*run.waiting(), sep="\n")
        passed = False
    else:
        passed = True
    took = time.monotonic() - began
    print(f"{'ok' if passed else 'FAILED'} {run.name}: {run.report()}; {took:.0f} s", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main())
