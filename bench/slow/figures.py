"""What a run's account says, in figures, and what of the bar it missed."""

import math

from bench.slow.account import quantile
from bench.slow.plan import Load, Published, Received

BAR = 1.0
"""The bystander's p99 that is good enough, in seconds."""

GROWTH, SLACK = 1.25, 0.25
"""It grows if p99 of the last third is more than so many times that of the first, and so
many seconds more: a quarter of the bar, for it does not stand still."""

HELD, LAG = 1.0, 0.05
"""How late a system may take what is published, and the publishers may be by themselves."""


def of(load: Load, received: Received, published: Published) -> dict[str, float]:
    """The figures; what never came is counted as late as the reader was there to wait."""
    sent, late = _lateness(load, received)
    third = load.seconds / 3
    first = [took for at, took in zip(sent, late, strict=True) if at < third]
    last = [took for at, took in zip(sent, late, strict=True) if at >= 2 * third]
    return {
        "text %": _share(load, received),
        "drain s": math.inf if received.complete is None else max(0.0, received.complete),
        "text p50 s": received.late[0],
        "text p99 s": received.late[1],
        "p50 s": quantile(late, 0.5),
        "p99 s": quantile(late, 0.99),
        "max s": max(late),
        "first third p99 s": quantile(first, 0.99),
        "last third p99 s": quantile(last, 0.99),
        "ticks lost": float(load.all_ticks - len(received.ticks)),
        "alive s": math.inf if not received.ended else received.finished,
        "held s": published.held,
        "lag p99 s": published.lag,
        "KB": received.bytes / 1000,
        "messages": float(received.messages),
        "events": float(received.events),
        "merged %": 100 * received.merged / max(1, received.tokens),
    }


def waits(received: Received) -> list[tuple[int, float]]:
    """Of the bystander's events of each second that came, the latest."""
    worst: dict[int, float] = {}
    for at, late in received.ticks:
        worst[int(at)] = max(late, worst.get(int(at), 0.0))
    return sorted(worst.items())


def missed(
    load: Load, received: Received, published: Published, found: dict[str, float]
) -> list[str]:
    """Of the bar: all text, exactly; the connection lives; the bystander waits a second."""
    why = [*received.problems[:2], *published.problems[:2]]
    if received.ended:
        why.append(f"the connection ended after {received.finished:.0f} s: {received.ended}")
    if received.complete is None:
        when = "" if received.ended else f", {load.drain:g} s after the end"
        why.append(f"{found['text %']:.1f} % of the text{when}")
    if found["p99 s"] > BAR:
        why.append(f"the bystander's p99 is {found['p99 s']:.1f} s")
    first, last = found["first third p99 s"], found["last third p99 s"]
    if grows(first, last):
        why.append(f"it grows: {first:.2f} s, then {last:.2f} s")
    return why


def grows(first: float, last: float) -> bool:
    """Whether p99 of the last third is that much over that of the first."""
    return last > first * GROWTH + SLACK


def doubts(published: Published) -> list[str]:
    """Why the figures cannot be trusted."""
    if published.lag > LAG:
        return [f"the publishers fired {published.lag * 1000:.0f} ms late (p99)"]
    return []


def notes(published: Published) -> list[str]:
    """What has to be known to read the figures."""
    found = []
    if published.held > HELD:
        found.append(f"the system held the publishers up, {published.held:.0f} s at last")
    return found


def _share(load: Load, received: Received) -> float:
    """Percent of the text; all only if it was all of it, once, in order and unaltered."""
    if received.complete is not None and not received.problems:
        return 100.0
    share = 100 * received.tokens / (load.tokens * load.sessions)
    return min(99.9, math.floor(share * 10) / 10)


def _lateness(load: Load, received: Received) -> tuple[list[float], list[float]]:
    """When each event of the bystander was due, and how late it came, or by when it had not."""
    came = {round(at * load.ticks - 0.5): took for at, took in received.ticks}
    due = [(number + 0.5) / load.ticks for number in range(load.all_ticks)]
    waited = max(received.finished, load.seconds)
    late = [came.get(number, waited - at) for number, at in enumerate(due)]
    return due, late
