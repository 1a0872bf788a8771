"""Scenarios that measure in ways of their own, small: that they find something, never how much."""

import pytest

from bench.plan import Measured, Times
from bench.scenario import Scenario, Settings
from bench.scenarios.engines import ENGINES
from bench.scenarios.resume import RESUME, TOKENS
from bench.systems import EDGESTREAM

TIMES = Times(seconds=0.3, warmup=0.05, drain=10.0)

pytestmark = pytest.mark.usefixtures("load")


def measured(scenario: Scenario, variant: str) -> Measured:
    [chosen] = [v for v in scenario.variants(Settings(scale=20)) if v.name == variant]
    found = scenario.measure(EDGESTREAM, chosen, TIMES, (None, None))
    assert not found.problems
    return found


def test_returns_by_a_cursor() -> None:
    """It comes back to half of the turn, again and again, and counts what comes."""
    figures = RESUME.figures(measured(RESUME, "cursor, in a flood"))
    assert figures["returns"] >= 1
    assert figures["part"] == pytest.approx(50, abs=100 / TOKENS)
    assert figures["more bytes"] > 0


def test_three_brokers_at_once() -> None:
    """Each has a figure of its own; the differences are those between neighbours."""
    found = measured(ENGINES, "100/s, arrays")
    figures = ENGINES.figures(found)
    assert {role: part.received > 0 for role, part in found.parts.items()} == {
        "no turns": True, "memory": True, "sqlite": True,
    }  # fmt: skip
    assert figures["turns µs"] == figures["memory µs"] - figures["no turns µs"]
    assert figures["storing µs"] == figures["sqlite µs"] - figures["memory µs"]
