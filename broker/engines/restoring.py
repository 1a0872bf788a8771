"""The rows of a file, as they are read, become what they say together.

A row that was written anew has more than its own: an event that stands for others is told
whole, wherever those were. So two rows may tell of the same, one of them as it was before.
Of those, the event counts that stands for most.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from broker.engines.journal import Row
from broker.plugin import Event

Pair = tuple[int, int]


class Whole(NamedTuple):
    """All rows: of each, the last position and its events; and of streams, what is torn
    and what is not retained any more, as `Kept` has it."""

    rows: list[tuple[int, Sequence[Sequence[Event]]]]
    torn: list[tuple[str, int, int]]
    floors: list[tuple[str, int]]


def whole(rows: Sequence[Row]) -> Whole:
    """Put rows together."""
    owners = _owners(rows)
    if not owners:
        return Whole([(row.last, row.runs) for row in rows], [], list(_floors(rows)))
    pairs = {key: sorted(of_stream) for key, of_stream in owners.items()}
    lasts = [row.last for row in rows]
    events: list[list[Event]] = [[] for _ in rows]
    for number, row in enumerate(rows):
        for run in row.runs:
            for event in run:
                pair = _around(pairs.get(event.key, ()), event.position)
                if pair is None:
                    events[number].append(event)
                elif owners[event.key][pair] == number:
                    events[bisect_left(lasts, event.position)].append(event)
    return Whole(
        [(last, _runs(of_row)) for last, of_row in zip(lasts, events, strict=True)],
        [(key, *pair) for key, of_stream in pairs.items() for pair in of_stream],
        list(_floors(rows)),
    )


def _owners(rows: Sequence[Row]) -> dict[str, dict[Pair, int]]:
    """Of each stream, what is torn, and the number of the row that tells it."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for number, row in enumerate(rows):
        for kept in row.kept or ():
            for key, first, last in kept.torn:
                found.setdefault(key, []).append((first, -last, number))
    owners: dict[str, dict[Pair, int]] = {}
    for key, of_stream in found.items():
        reached = 0
        for first, negative, number in sorted(of_stream):
            if -negative > reached:  # or it is a part of what is torn by now
                reached = -negative
                owners.setdefault(key, {})[first, reached] = number
    return owners


def _around(pairs: Sequence[Pair], position: int) -> Pair | None:
    at = bisect_right(pairs, (position, 1 << 63)) - 1
    return pairs[at] if at >= 0 and position <= pairs[at][1] else None


def _runs(events: list[Event]) -> list[list[Event]]:
    """Events stream by stream."""
    events.sort(key=lambda event: (event.key, event.position))
    return [list(run) for _, run in groupby(events, lambda event: event.key)]


def _floors(rows: Iterable[Row]) -> Iterable[tuple[str, int]]:
    return (floor for row in rows for kept in row.kept or () for floor in kept.floors)
