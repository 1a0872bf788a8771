"""The command line."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.plan import Times
from bench.scenario import Settings
from bench.scenarios import SCENARIOS
from bench.systems import EDGESTREAM, SYSTEMS

FULL = Settings()
SHORT = Settings(
    times=Times(seconds=3.0),
    slow=Times(seconds=60.0, drain=30.0),
    repeat=2,
    full=False,
    rates=(100,),
)
QUICK = Settings(
    times=Times(seconds=2.0),
    slow=Times(seconds=5.0, drain=5.0),
    repeat=1,
    full=False,
    scale=5,
    rates=(100,),
)


def parse(argv: Sequence[str] | None, about: str | None) -> argparse.Namespace:
    """The command line, with `settings` made of it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=about)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="every variant on every system, 10 s")
    size.add_argument("--quick", action="store_true", help="a look, in a few minutes")
    parser.add_argument("--scenario", choices=SCENARIOS, nargs="+", default=list(SCENARIOS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument(
        "--variant", nargs="+", metavar="TEXT", help="only those with it in their name"
    )
    parser.add_argument("--rate", type=int, nargs="+", help="tokens/s of a session (100)")
    parser.add_argument("--seconds", type=float, help="the measured window (3; --full: 10)")
    parser.add_argument("--repeat", type=int, help="(2; --full: 3)")
    parser.add_argument("--no-ceiling", dest="ceiling", action="store_false")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the result goes")
    options = parser.parse_args(argv)
    # The first is whom it is about.
    options.systems = sorted(options.systems, key=lambda name: name != EDGESTREAM.name)
    options.settings = _settings(options)
    return options


def _settings(options: argparse.Namespace) -> Settings:
    chosen = FULL if options.full else QUICK if options.quick else SHORT
    seconds = options.seconds
    return Settings(
        times=Times(seconds=seconds) if seconds else chosen.times,
        slow=chosen.slow,
        repeat=options.repeat or chosen.repeat,
        full=chosen.full or bool(options.variant),
        scale=chosen.scale,
        only=tuple(options.variant or [""]),
        rates=tuple(options.rate or chosen.rates),
    )
