"""What a scenario is: its loads, its figures, and the columns of its table."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from bench import generator
from bench.plan import Measured, Times, Variant
from bench.systems import System, running

Cores = tuple[int | None, int | None]
"""Where the system runs, and where the load."""


class Settings(Struct, frozen=True, kw_only=True):
    """What the command line chose; scenarios make their loads from it.

    Attributes:
        scale: by what a quick look divides numbers of sessions and connections.
        rates: tokens a second of each session.
        only: what a variant's name must have in it, one of these.
    """

    times: Times = Times()
    repeat: int = 3
    scale: int = 1
    rates: tuple[int, ...] = (50, 100)
    only: tuple[str, ...] = ("",)


class Column(Struct, frozen=True):
    """A figure in the table.

    Attributes:
        form: how it is written.
        ratio: whether its ratio to the first system's follows it.
        spread: whether half its range over the repeats follows it.
        versus: whether its ratio to the same system's in the variant's `base` has a column.
    """

    figure: str
    heading: str
    form: str = "{:,.1f}"
    ratio: bool = False
    spread: bool = False
    versus: bool = False


def loaded(system: System, variant: Variant, times: Times, cores: Cores) -> Measured:
    """A fresh process of `system`, with the variant's parts at once."""
    with running(system, cores[0]) as at:
        return generator.measure(variant.parts, system, at, times, cores)


class Scenario(Struct, frozen=True, kw_only=True):
    """One entry of `bench/scenarios`.

    Attributes:
        about: what it asks, in a line.
        variants: its loads.
        figures: what a run's measurements say.
        plot: the figure that is drawn.
        measure: how a run is made; with other parts at once where it is not said.
    """

    name: str
    about: str
    variants: Callable[[Settings], list[Variant]]
    figures: Callable[[Measured], Mapping[str, float]]
    columns: tuple[Column, ...]
    plot: str = ""
    measure: Callable[[System, Variant, Times, Cores], Measured] = loaded


def cpu_micros(measured: Measured, tokens: float) -> float:
    """The system's CPU time by the tokens delivered in a second."""
    return measured.usage.share / tokens * 1e6 if tokens else 0.0
