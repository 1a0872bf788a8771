"""What Linux tells of processes: CPU, waiting for a core, and memory."""

import os
import time
from pathlib import Path

from msgspec import Struct

from bench.plan import Usage

PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Sample(Struct, frozen=True):
    """CPU and waiting so far, in seconds, and memory now, in bytes."""

    cpu: float
    waited: float
    rss: int
    threads: int = 0


def tree(pid: int) -> list[int]:
    """`pid` and its descendants."""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            try:
                children = (task / "children").read_text()
            except OSError:
                continue
            found.extend(map(int, children.split()))
    return found


def sample(pids: list[int]) -> Sample:
    """The sum over `pids`.

    Raises:
        OSError: one of them has ended.
    """
    cpu = waited = 0.0
    rss = threads = 0
    for pid in pids:
        # The name, in parentheses, may hold anything; the fields follow the last one.
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / _TICK
        rss += int((PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
        for task in _tasks(pid):
            waited += int((task / "schedstat").read_text().split()[1]) / 1e9
            threads += 1
    return Sample(cpu, waited, rss, threads)


def busy(core: int | None) -> float:
    """Seconds in which `core` ran any process so far; 0 of None."""
    if core is None:
        return 0.0
    for line in (PROC / "stat").read_text().splitlines():
        name, *times = line.split()
        if name == f"cpu{core}":
            return sum(map(int, times[:3])) / _TICK
    return 0.0


class Meter:
    """What `pid` and its descendants use from now on, till it is read; `core` is theirs."""

    def __init__(self, pid: int, core: int | None) -> None:
        self._pids = tree(pid)
        self._core = core
        self._before, self._busy = sample(self._pids), busy(core)
        self._began = time.monotonic()

    def usage(self) -> Usage:
        """
        Raises:
            OSError: one of them has ended.
        """
        now, was = sample(self._pids), self._before
        wall = time.monotonic() - self._began
        cpu, waited = now.cpu - was.cpu, now.waited - was.waited
        # Counted in ticks, so roughly; of one thread exactly. Several wait for each other, too.
        rest = busy(self._core) - self._busy - cpu
        foreign = waited if now.threads == 1 else max(0.0, rest)
        return Usage(cpu=cpu, wall=wall, waited=waited, foreign=foreign, rss=now.rss)


def _tasks(pid: int) -> list[Path]:
    return list((PROC / str(pid) / "task").iterdir())
