"""As much SVG as the plots need. Colours are classes, which follow the reader's theme."""

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

SERIES = ("edgestream", "nats-server", "bun", "socket.io", "fastapi", "naive")
"""Systems in the order of their colours."""

LIGHT = ("#d4450c", "#1f6feb", "#8250df", "#1a7f64", "#9a6700", "#6e7781")
DARK = ("#ff7b47", "#6cb0ff", "#c297ff", "#4ac9a0", "#e0b04a", "#9aa4af")

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; }
.page { fill: #ffffff; stroke: #d0d7de; }
.ink { fill: #1f2328; }
.soft { fill: #59636e; }
.head { font-weight: 600; font-size: 16px; }
.small { font-size: 12px; }
.bold { font-weight: 600; }
.grid { stroke: #d8dee4; stroke-width: 1; }
.axis { stroke: #8c959f; stroke-width: 1; }
.bar { stroke: #59636e; stroke-width: 1.5; stroke-dasharray: 4 4; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.mine { stroke-width: 3.5; }
.ring { stroke-width: 2.5; }
.pale { opacity: 0.55; }
%(light)s
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117; stroke: #30363d; }
.ink { fill: #e6edf3; }
.soft { fill: #9198a1; }
.grid { stroke: #262c34; }
.axis { stroke: #6e7681; }
.bar { stroke: #9198a1; }
%(dark)s
}
"""


def colour(system: str) -> int:
    """The number of a system's colour: its fill is class `f0`, its stroke `s0`."""
    return SERIES.index(system) if system in SERIES else len(SERIES) - 1


class Drawing:
    """Shapes on a page of `width` × `height`; (0, 0) is the upper left.

    Args:
        title, about: what it shows, also to those who do not see it.
    """

    def __init__(self, width: int, height: int, title: str, about: str) -> None:
        self.width = width
        self._size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        self._told = f"<title>{escape(title)}</title><desc>{escape(about)}</desc>"
        self._shapes: list[str] = []
        self.rect(0.5, 0.5, width - 1, height - 1, "page", 8)
        self.text(24, 34, title, "ink head")
        self.text(24, 56, about, "soft")

    def rect(self, x: float, y: float, width: float, height: float, of: str, r: float = 0) -> None:
        self._add("rect", of, x=x, y=y, width=max(0.0, width), height=height, rx=r)

    def line(self, x1: float, y1: float, x2: float, y2: float, of: str) -> None:
        self._add("line", of, x1=x1, y1=y1, x2=x2, y2=y2)

    def circle(self, x: float, y: float, r: float, of: str) -> None:
        self._add("circle", of, cx=x, cy=y, r=r)

    def path(self, points: Iterable[tuple[float, float]], of: str) -> None:
        """Through all of them."""
        steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self._shapes.append(f'<path class="{of}" d="M{steps}"/>')

    def text(self, x: float, y: float, words: str, of: str, anchor: str = "start") -> None:
        self._shapes.append(
            f'<text class="{of}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def legend(self, x: float, y: float, systems: Sequence[str]) -> None:
        """The systems in their colours, in a line."""
        for system in systems:
            self.rect(x, y - 8, 18, 4, f"f{colour(system)}", 2)
            self.text(x + 24, y, system, "ink small")
            x += 46 + 6.6 * len(system)

    def render(self) -> str:
        colours = {
            name: "\n".join(
                f".f{n} {{ fill: {c}; }} .s{n} {{ stroke: {c}; }}" for n, c in enumerate(chosen)
            )
            for name, chosen in (("light", LIGHT), ("dark", DARK))
        }
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {self._size} role="img">',
                self._told,
                f"<style>{STYLE % colours}</style>",
                *self._shapes,
                "</svg>\n",
            ]
        )

    def _add(self, shape: str, of: str, **numbers: float) -> None:
        said = " ".join(f'{name}="{value:.1f}"' for name, value in numbers.items() if value)
        self._shapes.append(f'<{shape} class="{of}" {said}/>')
