"""Markdown tables."""

from collections.abc import Sequence


def aligned(cells: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """The lines of a table whose first line is its heading; `left` columns are words."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if n < left else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return [
        "| " + " | ".join(
            cell.ljust(width) if n < left else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ) + " |"
        for line in [cells[0], rule, *cells[1:]]
    ]  # fmt: skip
