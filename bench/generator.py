"""The load generator's processes (`load/`), driven in steps: opened, subscribed, let go."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from msgspec.structs import asdict, replace

from bench import environment, procfs
from bench.plan import Found, Measured, Part, Times, Usage
from bench.processes import Failed, Helper, Serving
from bench.systems import System

SOON = 0.05
"""Seconds from telling all parts to begin to the beginning."""

PATIENCE = 120.0
"""Seconds after which a generator that says nothing is given up, beside its own times."""


class Generator(Helper):
    """One process of the load generator."""

    def __init__(self, part: Part) -> None:
        super().__init__([environment.LOAD])
        self.part = part

    def step(self, line: str, answer: str) -> None:
        """Say `line`, and wait for the answer.

        Raises:
            Failed: it was another one, or it has ended.
        """
        self.tell(line)
        self.expect(answer)

    def told(self, patience: float) -> Found:
        """What it found, when it is done."""
        try:
            return self.found(Found, patience)
        except Failed as error:
            return Found(problems=[f"the generator did not end well: {error}"])


def lines(part: Part, system: System, port: int, times: Times, core: int | None) -> list[str]:
    """The options of `part` as the generator reads them."""
    chosen = asdict(part) | asdict(times)
    chosen |= {"protocol": system.protocol, "port": port}
    if path := system.paths.get(part.namespace):
        chosen["path"] = path
    if core is not None:
        chosen["core"] = core
    for name in ("role", "namespace", "late"):
        del chosen[name]
    return [f"{name} {_text(value)}" for name, value in chosen.items()]


@contextmanager
def opened(
    parts: Sequence[Part], system: System, port: int, times: Times, core: int | None
) -> Iterator[list[Generator]]:
    """A process for each part, with its connections open; they are ended with the block."""
    with ExitStack() as stack:
        generators = [stack.enter_context(Generator(part)) for part in parts]
        for generator in generators:
            chosen = lines(generator.part, system, port, times, core)
            generator.step("\n".join([*chosen, "open"]), "open")
        yield generators


def measure(
    parts: Sequence[Part],
    system: System,
    at: Serving,
    times: Times,
    cores: tuple[int | None, int | None] = (None, None),
) -> Measured:
    """Put the load of all `parts` at once on the `system` that serves `at`."""
    try:
        with opened(parts, system, at.port, times, cores[1]) as generators:
            for generator in generators:
                generator.step("subscribe", "ready")
            start = time.monotonic() + SOON
            for generator in generators:
                generator.tell(f"go {round(start * 1e9)}")
            usage, shares = _window(start, at.pid, generators, times, cores[0])
            patience = PATIENCE + times.drain
            found = [generator.told(patience) for generator in generators]
    except (OSError, Failed) as error:
        return Measured(problems=[f"it stopped: {error}"])
    by_role = {
        generator.part.role: replace(mine, share=share)
        for generator, mine, share in zip(generators, found, shares, strict=True)
    }
    problems = [problem for mine in found for problem in mine.problems]
    sent, received = sum(f.sent for f in found), sum(f.received + f.watched for f in found)
    fans = sum(
        f.sent * (generator.part.fan - 1) for generator, f in zip(generators, found, strict=True)
    )
    if sent + fans != received:
        problems.append(f"{sent + fans} tokens sent, {received} received")
    return Measured(parts=by_role, usage=usage, problems=problems)


def _window(
    start: float, pid: int, generators: Sequence[Generator], times: Times, core: int | None
) -> tuple[Usage, list[float]]:
    """Usage of the system, and CPU shares of the generators, within the window."""
    opens = start + times.warmup
    sleep_until(opens)
    meter = procfs.Meter(pid, core)
    meters = [procfs.Meter(generator.pid, None) for generator in generators]
    sleep_until(opens + times.seconds)
    return meter.usage(), [mine.usage().share for mine in meters]


def sleep_until(moment: float) -> None:
    """By the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def cores() -> tuple[int | None, int | None]:
    """Where the system and the load go: the first two that there are; anywhere, of one."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)
