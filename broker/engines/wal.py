"""Whether SQLite's write-ahead log is whole: SQLite itself goes on without what it cannot read.

A process that was killed leaves a log whose last transaction may have no end, and what was
acknowledged is whole. So where something cannot be read, and a transaction of the same
numbering ends behind it, something was damaged. (https://sqlite.org/fileformat2.html#walformat)
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
_WORD = 0xFFFFFFFF

Sum = tuple[int, int]


class _Log(NamedTuple):
    """What the header says: the order of bytes in sums, the size of pages, the numbering."""

    order: str
    page: int
    salts: tuple[int, int]
    sum: Sum


def damaged(path: Path) -> int | None:
    """From which byte on a log cannot be read, though more was committed; None if it is whole.

    Raises:
        OSError: it cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size)
            if not head:
                return None
            log = _header(head)
            return 0 if log is None else _break(file, log)
    except FileNotFoundError:
        return None


def _header(head: bytes) -> _Log | None:
    if len(head) < _HEADER.size:
        return None
    magic, _, page, _, salt, other, *sums = _HEADER.unpack(head)
    if magic not in _MAGIC or _sum(head[:24], (0, 0), _MAGIC[magic]) != tuple(sums):
        return None
    return _Log(_MAGIC[magic], page, (salt, other), (sums[0], sums[1]))


def _break(file: BinaryIO, log: _Log) -> int | None:
    """Where the sums do not go on, if a transaction ends behind that."""
    sum = log.sum
    broken: int | None = None
    at = _HEADER.size
    for head, page in _frames(file, log.page):
        number, size, salt, other, *sums = _FRAME.unpack(head)
        ours = (salt, other) == log.salts and number > 0
        if broken is not None:
            if ours and size:  # as it has at the end of a transaction
                return broken
            continue
        sum = _sum(page, _sum(head[:8], sum, log.order), log.order)
        if not ours or sum != tuple(sums):
            broken = at
        at += len(head) + len(page)
    return None


def _frames(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    while len(frame := file.read(_FRAME.size + size)) == _FRAME.size + size:
        yield frame[: _FRAME.size], frame[_FRAME.size :]


def _sum(data: bytes, sum: Sum, order: str) -> Sum:
    """SQLite's checksum, gone on with."""
    first, second = sum
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for word, other in zip(words, words, strict=True):
        first = (first + word + second) & _WORD
        second = (second + other + first) & _WORD
    return first, second
