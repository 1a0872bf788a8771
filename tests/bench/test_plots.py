"""The plots: drawn from a result, as well-formed SVG, of what there are figures for."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import plots

Result = dict[str, list[dict[str, Any]]]


def row(
    scenario: str, variant: str, system: str, told: tuple[str, ...] = (), **medians: float
) -> dict[str, Any]:
    named = {"wait": "p99 ms", "cpu": "cpu µs/token"}
    return {
        "scenario": scenario, "variant": variant, "system": system, "told": told,
        "valid": True,
        "medians": {named[name]: value for name, value in medians.items()},
    }  # fmt: skip


def reader(system: str, late: float, ended: str = "") -> dict[str, Any]:
    more = {
        "load": {"seconds": 60.0},
        "waits": [(0, late), (30, 2 * late)],
        "received": {"ended": ended},
    }
    return {
        "scenario": "slow-reader", "variant": "TLS", "system": system, "figures": {"p99 s": late},
        "measured": {"more": more},
    }  # fmt: skip


@pytest.fixture
def result() -> Result:
    return {
        "summary": [
            row("flood", "arrays", "edgestream", wait=4.2),
            row("flood", "arrays", "nats-server", wait=2345.0),
            row("flood", "arrays", "fastapi"),
            row("sessions", "100/s, arrays", "edgestream", cpu=9.4),
            row("sessions", "100/s, arrays", "naive", ("naive: saturated: 40%",), cpu=21.3),
            row("sessions", "100/s, arrays, rollupMs 40", "edgestream", cpu=5.1),
        ],
        "runs": [reader("edgestream", 0.5), reader("bun", 20.0, "closed: 1011")],
    }


def drawn(result: Result, folder: Path) -> dict[str, str]:
    """The words of each plot, by its name."""
    file = folder / "result.json"
    file.write_bytes(msgspec.json.encode(result))
    return {
        path.stem: " ".join(ET.parse(path).getroot().itertext())
        for path in plots.draw(file, folder)
    }


def test_every_plot_says_what_it_shows(result: Result, tmp_path: Path) -> None:
    """Systems, values with their units, and what failed, was closed or was saturated."""
    words = drawn(result, tmp_path)

    assert set(words) == {"bench-flood", "bench-slow-reader", "bench-cpu"}
    for word in ("edgestream", "4.2 ms", "2.3 s", "○ no valid run", "200 publishers", "5 ms"):
        assert word in words["bench-flood"]
    for word in ("edgestream", "bun", "TLS", "closed", "40 s", "60"):
        assert word in words["bench-slow-reader"]
    for word in ("9.4 µs", "21.3 µs (saturated)", "rollupMs 40", "5.1 µs"):
        assert word in words["bench-cpu"]
    assert "one publisher" not in words["bench-flood"]


def test_they_follow_the_readers_theme(result: Result, tmp_path: Path) -> None:
    """Light or dark."""
    drawn(result, tmp_path)

    for path in tmp_path.glob("*.svg"):
        assert "@media (prefers-color-scheme: dark)" in path.read_text()


def test_without_figures_there_is_no_plot(tmp_path: Path) -> None:
    """Neither of scenarios that were not run, nor where all have failed."""
    failed = row("sessions", "100/s, arrays", "edgestream")

    assert drawn({"summary": [failed], "runs": []}, tmp_path) == {}


def test_what_cannot_be_trusted_is_not_drawn(result: Result, tmp_path: Path) -> None:
    for found in result["summary"]:
        found["valid"] = found["system"] != "edgestream"

    words = drawn(result, tmp_path)["bench-cpu"]
    assert "no valid run" in words
    assert "9.4 µs" not in words
