"""How late a bystander's events come over a slow link, as the minute goes on."""

from typing import Any

from bench.plots import rows
from bench.plots.svg import Drawing, colour
from bench.scenarios import slow

WIDTH, LEFT, TOP, HEIGHT, GAP = 900.0, 64.0, 140.0, 230.0, 32.0
VARIANTS = (slow.PLAIN, "TLS", "nginx")
STEPS = (1, 2, 5, 10, 20, 30, 60)

Lines = dict[str, Any]


def plot(result: Any) -> str | None:
    """A panel for each transport, a line for each system, of its first run."""
    panels = [(name, _lines(result, name)) for name in VARIANTS]
    panels = [(name, lines) for name, lines in panels if lines]
    if not panels:
        return None
    found = [line for _, lines in panels for line in lines.values()]
    longest = max(line["load"]["seconds"] for line in found)
    latest = max((late for line in found for _, late in line["waits"]), default=1.0)
    most = _rounded(latest)
    drawing = Drawing(
        int(WIDTH), int(TOP + HEIGHT + 62),
        "A bystander's lag on a slow link that it shares with eight answers",
        "512 kbit/s; 8 × 100 tokens/s and 50 events/s of another namespace on one connection; "
        "lower is better",
    )  # fmt: skip
    drawing.legend(24, 84, rows.systems([lines for _, lines in panels]))
    width = (WIDTH - LEFT) / len(panels) - GAP
    for n, (name, lines) in enumerate(panels):
        panel = _Panel(drawing, LEFT + n * (width + GAP), width, longest, most)
        panel.draw(name, lines, labels=not n)
    return drawing.render()


def _lines(result: Any, variant: str) -> Lines:
    """What was found, by system, of the first run of each."""
    return {
        run["system"]: run["measured"]["more"]
        for run in reversed(result["runs"])
        if (run["scenario"], run["variant"]) == ("slow-reader", variant) and run["figures"]
    }


class _Panel:
    def __init__(
        self, drawing: Drawing, left: float, width: float, longest: float, most: float
    ) -> None:
        self._drawing, self._left, self._width = drawing, left, width
        self._longest, self._most = longest, most

    def draw(self, name: str, lines: Lines, *, labels: bool) -> None:
        drawing, left = self._drawing, self._left
        drawing.text(left, TOP - 16, name, "ink bold")
        step = next(step for step in (*STEPS, self._most) if self._most / step <= 6)
        for n in range(int(self._most / step) + 1):
            y = self._y(n * step)
            drawing.line(left, y, left + self._width, y, "grid" if n else "axis")
            if labels:
                drawing.text(left - 10, y + 4, f"{n * step:g} s", "soft small", "end")
        for third in range(4):
            at = self._longest * third / 3
            drawing.text(self._x(at), TOP + HEIGHT + 20, f"{at:g}", "soft small", "middle")
        words = "when it was published, in s"
        drawing.text(left + self._width / 2, TOP + HEIGHT + 42, words, "soft small", "middle")
        for system in reversed(lines):
            self._line(system, lines[system])

    def _line(self, system: str, found: Any) -> None:
        number = colour(system)
        points = [(self._x(at + 0.5), self._y(late)) for at, late in found["waits"]]
        if points:
            mine = " mine" if system == "edgestream" else ""
            self._drawing.path(points, f"line s{number}{mine}")
        if points and found["received"]["ended"]:
            x, y = points[-1]
            for slope in (-1, 1):
                self._drawing.line(x - 5, y - 5 * slope, x + 5, y + 5 * slope, f"line s{number}")
            self._drawing.text(x + 9, y + 4, "closed", "soft small")

    def _x(self, second: float) -> float:
        return self._left + self._width * second / self._longest

    def _y(self, late: float) -> float:
        return TOP + HEIGHT * (1 - late / self._most)


def _rounded(value: float) -> float:
    """Up to a round number."""
    step = next((step for step in STEPS if value / step <= 6), STEPS[-1])
    return step * (int(value / step) + 1)
