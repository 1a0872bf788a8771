"""The result of a run of the benchmark: its JSON, its page, its plots."""

import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from bench import plots, report
from bench.bars import Verdict
from bench.bars import table as bars_table
from bench.plan import Run
from bench.processes import ROOT
from bench.scenario import Settings

FOLDER = ROOT / "bench" / "results"
METHOD = (
    "Every token is accounted for. CPU is user and system time of the system's processes, all "
    "threads, in the window after the warm-up. Latency is from publish to receive, by one "
    "monotonic clock. Medians over the repeats, systems interleaved. (bench/README.md)"
)


class Result(Struct, kw_only=True):
    """Everything that a run found; all of it goes into the JSON.

    Attributes:
        skipped: the systems that could not be measured here, and why.
        tables: the scenarios' tables, as lines of Markdown.
        summary: a row for each variant and system.
    """

    machine: dict[str, Any]
    skipped: list[str]
    settings: Settings = field(default_factory=Settings)
    method: str = METHOD
    began: float = field(default_factory=time.time)
    took: float = 0.0
    ceiling: list[Run] = field(default_factory=list)
    bars: list[Verdict] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    summary: list[report.Row] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def heading(self) -> str:
        """What it was measured on, in a line."""
        about = self.machine
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        return (
            f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, TCP "
            f"{about['tcp']}, Python {about['python']}; {versions}"
        )

    def lines(self) -> list[str]:
        """The tables, the bars, and what failed."""
        return [*self.tables, *bars_table(self.bars), "", *self._failures()]

    def page(self) -> str:
        """All of it, as Markdown."""
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(self.began))
        times, settings = self.settings.times, self.settings
        head = [
            "# edgestream and its rivals",
            "",
            f"{when} UTC, {self.took / 60:.0f} min. {self.heading()}",
            "",
            f"{settings.repeat} × {times.seconds:g} s (slow reader: {settings.slow.seconds:g} s). "
            + self.method,
            "",
            *(f"- {line}" for line in self.skipped),
            "",
            *bars_table(self.bars),
            "",
            *(f"- {line}" for line in self._failures()),
            "",
            *report.ceiling_lines(self.ceiling),
            "",
        ]
        return "\n".join([*head, *self.tables])

    def keep(self, path: Path | None) -> Path:
        """Write the JSON to `path`, or to a file of its own; and the page and the plots beside
        it. Its place."""
        self.took = time.time() - self.began
        kept = path or FOLDER / time.strftime("%Y%m%d-%H%M%S.json", time.gmtime(self.began))
        kept.parent.mkdir(parents=True, exist_ok=True)
        encoded = msgspec.json.format(msgspec.json.encode(self, enc_hook=str), indent=1) + b"\n"
        for file in (kept, kept.parent / "latest.json"):
            file.write_bytes(encoded)
        (kept.parent / "latest.md").write_text(self.page())
        plots.draw(kept, kept.parent)
        return kept

    def _failures(self) -> list[str]:
        return report.failures([*self.ceiling, *self.runs])
