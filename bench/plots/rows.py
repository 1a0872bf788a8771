"""A result's summary, as the plots read it from the JSON."""

from collections.abc import Sequence
from typing import Any

from bench.plots.svg import SERIES

Row = dict[str, Any]


def of(result: Any, scenario: str, variant: str) -> dict[str, Row]:
    """The rows of a variant, by system, in the order of their colours."""
    found = {
        row["system"]: row
        for row in result["summary"]
        if (row["scenario"], row["variant"]) == (scenario, variant)
    }
    return dict(sorted(found.items(), key=lambda item: _place(item[0])))


def systems(blocks: Sequence[dict[str, Row]]) -> list[str]:
    """All that any of the blocks has."""
    return sorted(dict.fromkeys(name for block in blocks for name in block), key=_place)


def figure(row: Row | None, name: str) -> float | None:
    """A median; None where every run of it has failed, or none can be trusted."""
    return row["medians"].get(name) if row and row["valid"] else None


def _place(system: str) -> int:
    return SERIES.index(system) if system in SERIES else len(SERIES)
