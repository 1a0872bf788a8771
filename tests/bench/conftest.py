"""`bench` is not installed: it is found in the repository's root."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench import environment


@pytest.fixture(scope="module")
def load() -> None:
    """The generator is compiled; where it cannot be, what needs it is skipped."""
    try:
        environment.compile_load()
    except environment.Unavailable as error:
        pytest.skip(str(error))
