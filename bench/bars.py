"""What edgestream has to reach, and whether it did, read off the report's rows.

A bar is of the medians of the repeats; it is not decided where a run that it needs is
missing, has failed, or cannot be trusted.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from bench.report import Row
from bench.scenarios import (
    engines,
    fanout,
    flood,
    noisy,
    resume,
    scaling,
    sessions,
    slow,
    sse,
)
from bench.slow import figures
from bench.tables import aligned

MINE = "edgestream"
SHAPES = ("one per message", "arrays")


class Missing(Exception):
    """What a bar needs was not measured, or cannot be trusted."""


class Absent(Missing):
    """edgestream's own part of it was not asked for."""


class Verdict(Struct, frozen=True, kw_only=True):
    """Of one bar. `reached` is None where it could not be decided."""

    name: str
    measured: str
    bar: str
    reached: bool | None


class Rows:
    """The report's rows, by what they are of."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, scenario: str, variant: str, system: str = MINE) -> Row:
        """The last one whose variant's name is like that; its numbers are the settings'.

        Raises:
            Missing: there is none, or it is not valid.
        """
        for row in reversed(self._rows):
            same = (row.scenario, row.system) == (scenario, system)
            if same and fnmatchcase(row.variant, variant):
                if row.valid:
                    return row
                what = "cannot be trusted" if row.runs else "failed"
                raise Missing(f"{system}, {row.variant}: {what}")
        raise (Absent if system == MINE else Missing)(f"{system}: not measured")


Decided = tuple[str, str, bool]
"""What was measured, the bar, and whether it was reached."""

Decide = Callable[[Rows], Decided]
Bar = tuple[str, Decide]


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Of each bar that `rows` has something about, in order."""
    of = Rows(rows)
    found = []
    for name, decide in BARS:
        try:
            measured, bar, reached = decide(of)
        except Absent:
            continue
        except Missing as missing:
            found.append(Verdict(name=name, measured=str(missing), bar="", reached=None))
        else:
            found.append(Verdict(name=name, measured=measured, bar=bar, reached=reached))
    return found


def table(found: Sequence[Verdict]) -> list[str]:
    """Markdown."""
    words = {True: "yes", False: "**no**", None: "?"}
    lines = [[v.name, v.measured, v.bar, words[v.reached]] for v in found]
    heading = ["bar", "measured", "has to be", "reached"]
    return ["### The bars", "", *aligned([heading, *lines], left=4)] if lines else []


def _flood_wait(variant: str) -> Decide:
    def decide(rows: Rows) -> Decided:
        mine = rows("flood", variant).medians["p99 ms"]
        if mine <= LEAST_WAIT:
            return f"{mine:.2f} ms", f"≤ {LEAST_WAIT} ms", True
        rival = rows("flood", variant, "nats-server").medians["p99 ms"]
        least = max(rival, LEAST_WAIT)
        return f"{mine:.2f} ms", f"≤ {least:.2f} ms, nats-server's", mine <= least

    return decide


def _at_least(scenario: str, variant: str, figure: str, least: float) -> Decide:
    def decide(rows: Rows) -> Decided:
        mine = rows(scenario, variant).medians[figure]
        return f"{mine:,.0f}", f"≥ {least:,.0f}", mine >= least

    return decide


def _at_most(scenario: str, variant: str, figure: str, most: float) -> Decide:
    def decide(rows: Rows) -> Decided:
        mine = rows(scenario, variant).medians[figure]
        return f"{mine:.2f}", f"≤ {most:g}", mine <= most

    return decide


def _ratio(mine: float, other: float, most: float) -> Decided:
    if not other:
        raise Missing("nothing to compare with")
    ratio = mine / other
    return f"{ratio:.2f} × ({mine:.2f} / {other:.2f})", f"≤ {most:g} ×", ratio <= most


def _per(scenario: str, variant: str, figure: str, most: float, rival: str) -> Decide:
    """By a rival's."""

    def decide(rows: Rows) -> Decided:
        mine, other = rows(scenario, variant), rows(scenario, variant, rival)
        return _ratio(mine.medians[figure], other.medians[figure], most)

    return decide


def _versus(scenario: str, variant: str, figure: str, most: float) -> Decide:
    """By edgestream's own in the variant that it is compared with."""

    def decide(rows: Rows) -> Decided:
        mine = rows(scenario, variant)
        return _ratio(mine.medians[figure], rows(scenario, mine.base).medians[figure], most)

    return decide


def _slow(variant: str) -> Decide:
    def decide(rows: Rows) -> Decided:
        of = rows("slow-reader", variant).medians
        lives, ends = math.isinf(of["alive s"]), (of["first third p99 s"], of["last third p99 s"])
        measured = (
            f"{of['text %']:g} % of the text, {'lives' if lives else 'ended'}, p99 "
            f"{of['p99 s']:.2f} s ({ends[0]:.2f} → {ends[1]:.2f})"
        )
        waits = of["p99 s"] <= figures.BAR and not figures.grows(*ends)
        reached = of["text %"] == 100 and lives and waits
        return measured, f"all, lives, ≤ {figures.BAR:g} s, not growing", reached

    return decide


LEAST_WAIT = 5.0
"""ms that a bystander may wait in a flood, however short it waits with nats-server."""

TOKENS = dict(zip(SHAPES, (400_000, 550_000), strict=True))
NAIVE_CPU = dict(zip(SHAPES, (0.6, 0.85), strict=True))
RATE = 100
CPU = "cpu µs/token"


def _all() -> list[Bar]:
    return [
        *_flood(), *_noisy(), *_sessions(), *_others(), *_server_sent(), *_engines(), *_resume(),
    ]  # fmt: skip


def _flood() -> Iterator[Bar]:
    loads = [f"{how}{also}" for also in ("", f", {flood.ONE}") for how in SHAPES]
    for load in loads:
        yield f"flood, {load}: bystander p99", _flood_wait(load)
    for load in loads:
        least = _at_least("flood", load, "tokens/s", TOKENS[load.partition(",")[0]])
        yield f"flood, {load}: tokens/s", least
    for how in SHAPES:
        load = f"{how}, {flood.SHARED}"
        name = f"flood, {load}: bystander p99 to the separate one's"
        yield name, _versus("flood", load, "p99 ms", 3)


def _noisy() -> Iterator[Bar]:
    scenario = noisy.NOISY.name
    for how in SHAPES:
        name, load = f"{scenario}, {how}: p99 of the polite ones", f"noise, {how}"
        yield f"{name}, ms", _at_most(scenario, load, "p99 ms", 10)
        yield f"{name} to theirs alone", _versus(scenario, load, "p99 ms", 3)


def _sessions() -> Iterator[Bar]:
    scenario = sessions.SESSIONS.name
    for how in SHAPES:
        load = f"{RATE}/s, {how}"
        name = f"{scenario}, {load}: CPU a token"
        yield f"{name} to naive's", _per(scenario, load, CPU, NAIVE_CPU[how], "naive")
        yield f"{name} to Bun's", _per(scenario, load, CPU, 1.5, "bun")
        merged = f"{load}, rollupMs 40"
        yield f"{name}, rollupMs 40 to without", _versus(scenario, merged, CPU, 0.6)


def _others() -> Iterator[Bar]:
    for how in (slow.PLAIN, "TLS", "nginx"):
        yield f"slow-reader, {how}", _slow(how)
    scenario = fanout.FAN_OUT.name
    for rate in fanout.RATES:
        load = f"* {rate} tokens/s"
        name = f"{scenario}, {rate} tokens/s: CPU a delivery to Bun's"
        yield name, _per(scenario, load, CPU, 1, "bun")
    scenario = scaling.SCALING.name
    for how in SHAPES:
        name = f"{scenario}, {how}: CPU a token of most sessions to that of few"
        yield name, _versus(scenario, f"* sessions, {how}", CPU, 1.2)


def _server_sent() -> Iterator[Bar]:
    scenario = sse.SERVER_SENT.name
    for how in sse.LOADS:
        name, load = f"{scenario}, {how}: CPU a token", f"{how}, {sse.SSE}"
        yield f"{name} to WebSocket's", _versus(scenario, load, CPU, 1.5)
        yield f"{name} to FastAPI's", _per(scenario, load, CPU, 0.5, "fastapi")


def _engines() -> Iterator[Bar]:
    scenario = engines.ENGINES.name
    for load in (f"{RATE}/s", "flood"):
        for how in SHAPES:
            of = f"{load}, {how}"
            name = f"{scenario}, {of}: µs of CPU a token"
            yield f"{name} that turns cost", _at_most(scenario, of, "turns µs", 1)
            yield f"{name} that SQLite costs", _at_most(scenario, of, "storing µs", 3)


def _resume() -> Iterator[Bar]:
    scenario = resume.RESUME.name
    for when, figure in ((resume.QUIET, "p99 ms"), (resume.FLOOD, "p50 ms")):
        for way in resume.WAYS:
            load = f"{way}, {when}"
            name = f"{scenario}, {load}: first event beside a round trip"
            yield f"{name}, {figure}", _at_most(scenario, load, figure, LEAST_WAIT)


BARS = _all()
