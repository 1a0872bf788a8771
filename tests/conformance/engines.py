"""Whatever stores a namespace, its clients see the same."""

import pytest

both_engines = pytest.mark.parametrize("engine", ["memory", "sqlite"], indirect=True)
"""Runs a test with every namespace in memory, and once more with each in a file."""
