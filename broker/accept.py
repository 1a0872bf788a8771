"""Which media type a request would have its answer in: the header `Accept`, read (RFC 9110)."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_ENTRY = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_WEIGHT = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


class Fit(NamedTuple):
    """How well a media type suits: the greatest suits best."""

    weight: float
    width: int
    """2 where it is named itself, 1 with its family (``text/*``), 0 with all others."""
    place: int
    """How late it is named, from 0 downwards."""


class _Range(NamedTuple):
    name: str
    weight: float
    place: int


def preferred(accept: str, offered: Sequence[str]) -> str | None:
    """The one of `offered` that suits best, or None.

    What is wished for with the same weight is decided by how exactly it is named, then by
    what is named first, then by what is offered first.

    Args:
        accept: the header, several joined with commas; "" accepts everything.
        offered: media types in lower case, without parameters.
    """
    if not accept.strip():
        return offered[0]
    ranges = list(_ranges(accept))
    fits = [(fit, kind) for kind in offered if (fit := _fit(ranges, kind)).weight > 0]
    return max(fits, key=lambda each: each[0])[1] if fits else None


def _fit(ranges: Sequence[_Range], kind: str) -> Fit:
    """What the range says that names `kind` most exactly: others do not count."""
    names = ("*/*", kind.partition("/")[0] + "/*", kind)
    fits = [(names.index(each.name), each) for each in ranges if each.name in names]
    if not fits:
        return Fit(0.0, 0, 0)
    width = max(width for width, _ in fits)
    return max(Fit(each.weight, width, each.place) for wide, each in fits if wide == width)


def _ranges(accept: str) -> Iterator[_Range]:
    """Its media ranges; parameters other than their weight do not matter here. One whose
    weight is none is left out."""
    for place, entry in enumerate(_ENTRY.findall(accept)):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        weights = [part[2:] for part in parameters if part.startswith("q=")] or ["1"]
        if name and _WEIGHT.fullmatch(weights[0]):
            yield _Range(name, float(weights[0]), -place)
