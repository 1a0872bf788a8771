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
        yield from _once(scenario, [SINK], variant, 0, times, cores)


def every(
    scenario: Scenario, systems: Sequence[System], settings: Settings, cores: Cores
) -> Iterator[Run]:
    """Each variant on each system, A B A B, or on all at once."""
    settings = scenario.settings(settings)
    for variant in scenario.variants(settings):
        chosen = [system for system in systems if _wanted(variant, system, settings)]
        groups = [chosen] if scenario.together else [[system] for system in chosen]
        for repeat in range(settings.repeat):
            for group in groups:
                yield from _trusted(scenario, group, variant, repeat, settings, cores)


def _wanted(variant: Variant, system: System, settings: Settings) -> bool:
    fits = not variant.only or system.name in variant.only
    short = settings.full or variant.short is None or system.name in variant.short
    return fits and short and any(text in variant.name for text in settings.only)


def _trusted(
    scenario: Scenario,
    systems: Sequence[System],
    variant: Variant,
    repeat: int,
    settings: Settings,
    cores: Cores,
) -> list[Run]:
    """A run of each; others where something else disturbed them."""
    found: dict[str, Run] = {}
    for _ in range(1 + MORE_TRIES):
        left = [s for s in systems if s.name not in found or found[s.name].doubts]
        if left:
            runs = _once(scenario, left, variant, repeat, settings.times, cores)
            found |= {run.system: run for run in runs}
    return [found[system.name] for system in systems]


def _once(
    scenario: Scenario,
    systems: Sequence[System],
    variant: Variant,
    repeat: int,
    times: Times,
    cores: Cores,
) -> list[Run]:
    if scenario.together:
        all_measured = scenario.together(systems, variant, times, cores)
    else:
        all_measured = [scenario.measure(system, variant, times, cores) for system in systems]
    return [
        _run(scenario, system, variant, repeat, measured)
        for system, measured in zip(systems, all_measured, strict=True)
    ]


def _run(
    scenario: Scenario, system: System, variant: Variant, repeat: int, measured: Measured
) -> Run:
    problems = list(measured.problems)
    return Run(
        scenario=scenario.name,
        variant=variant.name,
        system=system.name,
        repeat=repeat,
        base=variant.base,
        problems=problems,
        doubts=[] if problems else [*measured.doubts, *doubts(variant.parts, measured)],
        notes=[] if problems else [*measured.notes, *notes(variant.parts, measured)],
        figures={} if problems else scenario.figures(measured),
        measured=measured,
    )


def doubts(parts: Sequence[Part], measured: Measured) -> list[str]:
    """Why the figures cannot be trusted, though every token arrived."""
    if not parts:
        return []
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
