"""What a scenario is: its loads, its figures, and the columns of its table."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from msgspec import Struct

from bench import generator
from bench.plan import Measured, Times, Variant
from bench.systems import System, running

Cores = tuple[int | None, int | None]
"""Where the system runs, and where the load."""


class Settings(Struct, frozen=True, kw_only=True):
    """What the command line chose; scenarios make their loads from it.

    Attributes:
        times, slow: of a run, and of one with a slow reader.
        full: whether every variant is measured on every system; else only what the bars
            and the plots need.
        scale: by what a quick look divides numbers of sessions and connections.
        rates: tokens a second of each session.
        only: what a variant's name must have in it, one of these.
    """

    times: Times = Times()
    slow: Times = Times(seconds=60.0, drain=60.0)
    repeat: int = 3
    full: bool = True
    scale: int = 1
    rates: tuple[int, ...] = (50, 100)
    only: tuple[str, ...] = ("",)


class Column(Struct, frozen=True):
    """A figure in the table.

    Attributes:
        form: how it is written.
        infinite: what it says where it is infinite.
        per: systems of which it is divided by theirs, in a column each.
        spread: whether half its range over the repeats follows it.
        versus: whether its ratio to the same system's in the variant's `base` has a column.
        of: what is told of several repeats.
    """

    figure: str
    heading: str
    form: str = "{:,.1f}"
    infinite: str = "∞"
    per: tuple[str, ...] = ()
    spread: bool = False
    versus: bool = False
    of: Callable[[Sequence[float]], float] = median


def loaded(system: System, variant: Variant, times: Times, cores: Cores) -> Measured:
    """A fresh process of `system`, with the variant's parts at once."""
    with running(system, cores[0]) as at:
        measured = generator.measure(variant.parts, system, at, times, cores)
        if measured.problems and (said := at.said()):
            measured.problems.append(f"{system.name} said: {said.splitlines()[-1]}")
        return measured


class Scenario(Struct, frozen=True, kw_only=True):
    """One entry of `bench/scenarios`.

    Attributes:
        about: what it asks, in a line.
        variants: its loads.
        figures: what a run's measurements say.
        settings: its own, made of those that were chosen.
        measure: how a run is made; with other parts at once where it is not said.
        together: how runs of several systems are made at once, if they are.
    """

    name: str
    about: str
    variants: Callable[[Settings], list[Variant]]
    figures: Callable[[Measured], Mapping[str, float]]
    columns: tuple[Column, ...]
    settings: Callable[[Settings], Settings] = lambda settings: settings
    measure: Callable[[System, Variant, Times, Cores], Measured] = loaded
    together: Callable[[Sequence[System], Variant, Times, Cores], list[Measured]] | None = None


def cpu_micros(measured: Measured, tokens: float) -> float:
    """The system's CPU time by the tokens delivered in a second."""
    return measured.usage.share / tokens * 1e6 if tokens else 0.0
