"""One run: fresh systems, each with a reader at the far end of a link of its own.

The systems are measured at the same time: what 512 kbit/s take hardly loads a core.
"""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench import procfs
from bench.environment import Unavailable
from bench.generator import sleep_until
from bench.plan import Measured, Namespace, Times, Usage
from bench.processes import DidNotStart, Failed, Helper, Serving, free_port, serving
from bench.scenario import Cores
from bench.slow import figures
from bench.slow.dialects import DIALECTS
from bench.slow.files import certificate, nginx
from bench.slow.link import Link, slow_link
from bench.slow.plan import Load, Published, Received, Task, Way
from bench.systems import LOOPBACK, Place, System, running

SOON = 0.5
"""Seconds from telling all processes to begin to the beginning."""

PATIENCE = 30.0
"""Seconds after which a process that says nothing is given up, beside its own times."""

NAMESPACES: tuple[Namespace, ...] = ("all", "chat", "workflow")


class Found(Struct, frozen=True, kw_only=True):
    """What one run found.

    Attributes:
        waits: of the bystander's events of each second, the latest, as (second, how late).
        received: without its ticks.
    """

    load: Load
    link: str
    waits: list[tuple[int, float]]
    received: Received
    published: Published
    figures: Mapping[str, float]
    missed: list[str]


class Set:
    """A system, its link, its reader and its publishers, ready to begin."""

    def __init__(
        self, stack: ExitStack, system: System, way: Way, load: Load, number: int, cores: Cores
    ) -> None:
        """Everything is ended with `stack`.

        Raises:
            Unavailable, DidNotStart, Failed: it is not.
        """
        link = slow_link(number=number, congestion=way.congestion)
        self.load = load
        self.link = stack.enter_context(link)
        self.system, urls, trust = _started(stack, system, way, self.link, cores[0])
        task = Task(load=load, dialect=system.protocol, urls=urls, trust=trust)
        self.reader, self.publisher = _helpers(stack, task, self.link, cores[1])
        self.meter = procfs.Meter(self.system.pid, cores[0])

    def begin(self, moment: float) -> None:
        for helper in self.reader, self.publisher:
            helper.tell(f"{moment:.6f}")

    def found(self, usage: Usage) -> Measured:
        """What was found, when the reader is through."""
        load = self.load
        received = self.reader.found(Received, load.seconds + load.drain + PATIENCE)
        self.publisher.end()  # if it is not through by now, nobody waits for it
        published = self.publisher.found(Published, PATIENCE)
        of = figures.of(load, received, published)
        missed = figures.missed(load, received, published, of)
        found = Found(
            load=load,
            link=self.link.about,
            waits=figures.waits(received),
            received=replace(received, ticks=[]),
            published=published,
            figures=of,
            missed=missed,
        )
        doubts, notes = figures.doubts(published), [*missed, *figures.notes(published)]
        return Measured(usage=usage, doubts=doubts, notes=notes, more=found)


def measure(systems: Sequence[System], way: Way, times: Times, cores: Cores) -> list[Measured]:
    """What each system does to its own slow reader, all at once."""
    load = Load(seconds=times.seconds, drain=times.drain)
    with ExitStack() as stack:
        sets = [
            _ready(stack, system, way, load, number, cores) for number, system in enumerate(systems)
        ]
        ready = [one for one in sets if isinstance(one, Set)]
        begin = time.monotonic() + SOON
        for one in ready:
            one.begin(begin)
        sleep_until(begin + load.seconds)
        usages = {one: _usage(one) for one in ready}
        return [_measured(one, usages[one]) if isinstance(one, Set) else one for one in sets]


def _ready(
    stack: ExitStack, system: System, way: Way, load: Load, number: int, cores: Cores
) -> Set | Measured:
    try:
        return Set(stack, system, way, load, number, cores)
    except (Unavailable, DidNotStart, Failed) as error:
        return Measured(problems=[f"not measured: {error}"])


def _usage(one: Set) -> Usage:
    try:
        return one.meter.usage()
    except OSError:  # it has ended; its reader says so
        return Usage()


def _measured(one: Set, usage: Usage) -> Measured:
    try:
        return one.found(usage)
    except Failed as error:
        return Measured(problems=[f"it stopped: {error}"])


def _started(
    stack: ExitStack, system: System, way: Way, link: Link, core: int | None
) -> tuple[Serving, tuple[str, str, str], str]:
    """A system, with a proxy before it if one is asked for; the addresses of what both
    subscribe to, of chat, and of the bystander; the certificate to trust."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    files = certificate(link.host, folder) if way.transport == "tls" else ("", "")
    host = LOOPBACK if way.transport == "nginx" else link.host
    port = free_port(host)
    place = Place(host=host, port=port, certificate=files[0], key=files[1])
    found = stack.enter_context(running(system, core, place))
    if way.transport == "nginx":
        port = free_port(link.host)
        command = nginx(folder, link.host, port, place.port)
        stack.enter_context(serving(command, {}, (link.host, port), core))
    base = f"{'wss' if files[0] else 'ws'}://{link.host}:{port}"
    path = DIALECTS[system.protocol].path
    both, chat, workflow = (base + system.paths.get(name, path) for name in NAMESPACES)
    return found, (both, chat, workflow), files[0]


def _helpers(stack: ExitStack, task: Task, link: Link, core: int | None) -> tuple[Helper, Helper]:
    python = (sys.executable, "-m")
    reader = stack.enter_context(Helper([*link.prefix, *python, "bench.slow.reader"], core))
    publisher = stack.enter_context(Helper([*python, "bench.slow.publisher"], core))
    reader.tell(msgspec.json.encode(replace(task, pace=link.pace)))
    publisher.tell(msgspec.json.encode(task))
    reader.expect("ready")
    publisher.expect("ready")
    return reader, publisher
