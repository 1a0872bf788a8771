"""The load generator's processes (`load/`), driven in steps: opened, subscribed, let go."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import msgspec
from msgspec.structs import asdict, replace

from bench import environment, procfs
from bench.plan import Found, Measured, Part, Times, Usage
from bench.systems import System

SOON = 0.05
"""Seconds from telling all parts to begin to the beginning."""

PATIENCE = 120.0
"""Seconds after which a generator that says nothing is given up, beside its own times."""


class Generator:
    """One process of the load generator."""

    def __init__(self, part: Part, lines: Sequence[str]) -> None:
        self.part = part
        self.process = subprocess.Popen(
            [environment.LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.step("\n".join([*lines, "open"]), "open")

    def say(self, line: str) -> None:
        stream: IO[str] = self.process.stdin  # type: ignore[assignment]
        stream.write(line + "\n")
        stream.flush()

    def step(self, line: str, answer: str) -> None:
        """Say `line`, and wait for the answer.

        Raises:
            OSError: it was another one, or it has ended.
        """
        self.say(line)
        stream: IO[str] = self.process.stdout  # type: ignore[assignment]
        if (said := stream.readline().strip()) != answer:
            raise OSError(f"the generator said {said!r}, not {answer!r}")

    def found(self, patience: float) -> Found:
        """What it found, when it is done."""
        try:
            said, _ = self.process.communicate(timeout=patience)
            return msgspec.json.decode(said, type=Found)
        except (subprocess.TimeoutExpired, msgspec.DecodeError) as error:
            return Found(problems=[f"the generator did not end well: {error}"])

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


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
    started: list[Generator] = []
    try:
        for part in parts:
            started.append(Generator(part, lines(part, system, port, times, core)))  # noqa: PERF401
        yield started
    finally:
        for generator in started:
            generator.end()


def measure(
    parts: Sequence[Part],
    system: System,
    at: tuple[int, int],
    times: Times,
    cores: tuple[int | None, int | None] = (None, None),
) -> Measured:
    """Put the load of all `parts` at once on the `system` whose (pid, port) is `at`."""
    pid, port = at
    try:
        with opened(parts, system, port, times, cores[1]) as generators:
            for generator in generators:
                generator.step("subscribe", "ready")
            start = time.monotonic() + SOON
            for generator in generators:
                generator.say(f"go {round(start * 1e9)}")
            usage, shares = _window(start, pid, generators, times, cores[0])
            patience = PATIENCE + times.drain
            found = [generator.found(patience) for generator in generators]
    except OSError as error:
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
    pids = procfs.tree(pid)
    mine = [[generator.process.pid] for generator in generators]
    _sleep_until(opens)
    before, own, busy = procfs.sample(pids), [procfs.sample(m) for m in mine], procfs.busy(core)
    began = time.monotonic()
    _sleep_until(opens + times.seconds)
    after, own_after, busy_after = (
        procfs.sample(pids),
        [procfs.sample(m) for m in mine],
        procfs.busy(core),
    )
    wall = time.monotonic() - began
    cpu, waited = after.cpu - before.cpu, after.waited - before.waited
    # Counted in ticks, so roughly; of one thread exactly. Several wait for each other, too.
    foreign = waited if after.threads == 1 else max(0.0, busy_after - busy - cpu)
    usage = Usage(cpu=cpu, wall=wall, waited=waited, foreign=foreign, rss=after.rss)
    return usage, [(b.cpu - a.cpu) / wall for a, b in zip(own, own_after, strict=True)]


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def cores() -> tuple[int | None, int | None]:
    """Where the system and the load go: the first two that there are; anywhere, of one."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)
