"""Running the scenarios: the systems take turns, so that drift hits all."""

from collections.abc import Iterator, Sequence

from bench.plan import Measured, Part, Run, Times, Variant
from bench.scenario import Cores, Scenario, Settings
from bench.systems import SINK, System

MAX_SHARE = 0.85
MAX_FOREIGN = 0.05
MAX_BUSY = 0.97
MORE_TRIES = 2
"""How often a run that cannot be trusted is repeated."""

_CEILING = Part(sessions=200, publishers=200, buffer=65_536)
CEILINGS = (
    Variant(name="one per message", parts=(_CEILING,)),
    Variant(name="arrays", parts=(Part(sessions=200, publishers=200, buffer=65_536, batch=25),)),
)
"""Floods of the sink: what the generator can do itself."""


def ceilings(scenario: Scenario, times: Times, cores: Cores) -> Iterator[Run]:
    """The generator against the sink, with the figures of `scenario`."""
    for variant in CEILINGS:
        yield _once(scenario, SINK, variant, 0, times, cores)


def every(
    scenario: Scenario, systems: Sequence[System], settings: Settings, cores: Cores
) -> Iterator[Run]:
    """Each variant on each system, A B A B."""
    for variant in scenario.variants(settings):
        if not any(text in variant.name for text in settings.only):
            continue
        for repeat in range(settings.repeat):
            for system in systems:
                if not variant.only or system.name in variant.only:
                    yield _trusted(scenario, system, variant, repeat, settings, cores)


def _trusted(
    scenario: Scenario,
    system: System,
    variant: Variant,
    repeat: int,
    settings: Settings,
    cores: Cores,
) -> Run:
    """A run; another one where something else disturbed it."""
    for _ in range(1 + MORE_TRIES):
        run = _once(scenario, system, variant, repeat, settings.times, cores)
        if run.problems or not run.doubts:
            break
    return run


def _once(
    scenario: Scenario, system: System, variant: Variant, repeat: int, times: Times, cores: Cores
) -> Run:
    measured = scenario.measure(system, variant, times, cores)
    problems = list(measured.problems)
    return Run(
        scenario=scenario.name,
        variant=variant.name,
        system=system.name,
        repeat=repeat,
        base=variant.base,
        problems=problems,
        doubts=[] if problems else doubts(variant.parts, measured),
        notes=[] if problems else notes(variant.parts, measured),
        figures={} if problems else scenario.figures(measured),
        measured=measured,
    )


def doubts(parts: Sequence[Part], measured: Measured) -> list[str]:
    """Why the figures cannot be trusted, though every token arrived."""
    found = []
    shares = sum(mine.share for mine in measured.parts.values())
    flood = any(part.publishers and not part.rate for part in parts)
    usage = measured.usage
    if shares > MAX_SHARE and not flood:
        found.append(f"the generator used {shares:.0%} of its core")
    if flood and shares > MAX_BUSY and usage.share < MAX_BUSY - 0.05:
        found.append(f"the generator was the bottleneck; the system used {usage.share:.0%}")
    for part in parts:
        mine = measured.parts.get(part.role)
        if mine and mine.lag.p99 > part.late * 1e3:
            found.append(f"the {part.role} fired {mine.lag.p99 / 1e3:.1f} ms late (p99)")
    foreign = usage.foreign / usage.wall
    if foreign > MAX_FOREIGN:
        found.append(f"other processes used {foreign:.0%} of the system's core")
    return found


def notes(parts: Sequence[Part], measured: Measured) -> list[str]:
    """What has to be known to read the figures."""
    for part in parts:
        mine = measured.parts.get(part.role)
        if mine and part.rate and part.role == "load" and part.subscribe != "none":
            offered = mine.offered * part.fan
            if mine.delivered < 0.98 * offered:
                return [f"saturated: delivered {mine.delivered / offered:.0%} of what was offered"]
            if measured.usage.share > MAX_BUSY:
                return ["at its limit: its CPU is what one core allows, not what it needs"]
    return []
