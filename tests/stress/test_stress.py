"""A short form of each scenario of ``make stress``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from .run import Run, quiet
from .scenarios import SCENARIOS


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    quiet()
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("name", SCENARIOS)
async def test_short(name: str, tmp_path: Path) -> None:
    """Its laws hold; what happened is in the report."""
    run = Run(name, 1, tmp_path, long=False)
    await SCENARIOS[name](run)
    assert run.tokens > 0
    assert run.report()
