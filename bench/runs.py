"""Which runs there are, and running them: the systems take turns, so that drift hits all."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from bench.plan import Load, Result, Run, Variant
from bench.systems import ROOT, SINK, System, running


class Cores(Struct, frozen=True):
    """Where the system and the generator run; None is anywhere."""

    system: int | None
    generator: int | None


class Settings(Struct, frozen=True, kw_only=True):
    """What the command line chose."""

    sessions: int
    seconds: float
    repeat: int
    publishers: int
    array_publishers: int
    connections: int
    cores: Cores


def default_cores() -> Cores:
    """The first two that this process may use; unpinned where there is one."""
    available = sorted(os.sched_getaffinity(0))
    return Cores(available[0], available[1]) if len(available) > 1 else Cores(None, None)


def session_variants(rates: Sequence[int], codecs: Sequence[str]) -> list[Variant]:
    """One per message and arrays, without and with acks, for each rate and codec."""
    return [
        Variant(
            name=f"{rate}/s, {'arrays' if batch else 'one per message'}, "
            f"{'acks' if acks else 'no acks'}, {codec}",
            codec="msgpack" if codec == "msgpack" else "json",
            rate=rate,
            batch=batch,
            acks=acks,
        )
        for codec in codecs
        for rate in rates
        for acks in (False, True)
        for batch in (False, True)
    ]


IDLE = Variant(name="idle connections", scenario="idle")
CEILINGS = (
    Variant(name="unpaced, one per message", scenario="ceiling", rate=0),
    Variant(name="unpaced, arrays", scenario="ceiling", rate=0, batch=True),
)


def ceilings(settings: Settings) -> Iterator[Run]:
    """The generator against the sink: what it can do itself."""
    for variant in CEILINGS:
        yield one(SINK, variant, 0, settings)


def every(
    variants: Sequence[Variant], systems: Sequence[System], settings: Settings
) -> Iterator[Run]:
    """Each variant on each system that speaks its codec, A B A B."""
    for variant in variants:
        for repeat in range(settings.repeat):
            for system in systems:
                if variant.codec in system.codecs:
                    yield one(system, variant, repeat, settings)


def one(system: System, variant: Variant, repeat: int, settings: Settings) -> Run:
    """One run on a fresh process of `system`.

    Raises:
        DidNotStart: the system did not.
    """
    with running(system, settings.cores.system) as (pid, port):
        load = Load(
            scenario=variant.scenario,
            port=port,
            pid=pid,
            core=settings.cores.generator,
            system_core=settings.cores.system,
            codec=variant.codec,
            sessions=settings.sessions,
            rate=variant.rate,
            publishers=settings.array_publishers if variant.batch else settings.publishers,
            batch=variant.batch,
            acks=variant.acks,
            spaced=system.spaced,
            seconds=settings.seconds,
            connections=settings.connections,
        )
        result = generate(load)
    return Run(variant=variant, system=system.name, repeat=repeat, load=load, result=result)


def generate(load: Load) -> Result:
    """Put `load` on a system that listens, from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.generator"],
        cwd=ROOT,
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        return Result(problems=[f"the generator ended with status {done.returncode}"])
    return msgspec.json.decode(done.stdout, type=Result)
